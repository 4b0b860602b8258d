//! How a long text is cut into chunks that the model takes.

use std::fmt;
use std::sync::Arc;

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use crate::settings::ChunkingSettings;
use crate::settings::chunking::TextFormat;

/// The longest text that is embedded, some million tokens; it bounds the time that one document may take to cut. A longer one is
/// dead-lettered: it is a broken record, or a book that should be split where it comes from.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// The least `max_tokens`: any one character fits into it, so that every text can be cut.
pub const MIN_CHUNK_TOKENS: usize = 8;

/// How many bytes a token is taken for where the tokenizer is not known.
const BYTES_PER_TOKEN: usize = 4;

/// How many chunks are looked for at once. For each chunk the splitter looks at all that is ahead, so its work on a whole
/// text would grow with the square of the length.
const CHUNKS_AHEAD: usize = 4;

/// Counts tokens as a model does.
pub trait Tokenizer: Send + Sync {
    /// The exact number of tokens, including those that the model adds itself. Never more than the text has bytes, plus a constant that
    /// the model's limit already allows for.
    fn count(&self, text: &str) -> usize;
}

/// Cuts texts. The same text is always cut in the same places.
#[derive(Clone)]
pub struct Chunker {
    measure: Measure,
    max_tokens: usize,
    splitter: Arc<Splitter>,
    has_words: Option<Arc<HasWords>>,
}

/// Whether a model finds anything in a text.
type HasWords = dyn Fn(&str) -> bool + Send + Sync;

enum Splitter {
    Plain(TextSplitter<Measure>),
    Markdown(MarkdownSplitter<Measure>),
}

/// The length of a text in tokens: counted, or a quarter of its bytes rounded up.
#[derive(Clone)]
struct Measure {
    /// `None` where the tokenizer is not known.
    tokenizer: Option<Arc<dyn Tokenizer>>,
}

impl Measure {
    fn of(&self, text: &str) -> usize {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.count(text),
            None => text.len().div_ceil(BYTES_PER_TOKEN),
        }
    }

    /// A text of no more bytes fits, and need not be counted: a token stands for at least one byte.
    fn surely_fits(&self, max_tokens: usize) -> usize {
        let bytes = if self.tokenizer.is_some() { 1 } else { BYTES_PER_TOKEN };
        max_tokens.saturating_mul(bytes)
    }
}

impl ChunkSizer for Measure {
    fn size(&self, chunk: &str) -> usize {
        self.of(chunk)
    }
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.measure.tokenizer.is_some();
        f.debug_struct("Chunker").field("max_tokens", &self.max_tokens).field("exact", &exact).finish_non_exhaustive()
    }
}

impl Chunker {
    /// For chunks of at most `settings.max_tokens`, or `model_limit` where that is less. Tokens are estimated where the `tokenizer` of the
    /// model is not known.
    pub fn new(
        settings: &ChunkingSettings,
        tokenizer: Option<Arc<dyn Tokenizer>>,
        model_limit: Option<usize>,
    ) -> Result<Self, String> {
        let max_tokens = model_limit.map_or(settings.max_tokens, |limit| limit.min(settings.max_tokens));
        if max_tokens < MIN_CHUNK_TOKENS {
            let setting =
                if model_limit == Some(max_tokens) { "embedding.max_text_tokens" } else { "chunking.max_tokens" };
            return Err(format!("{setting}: is {max_tokens}; at least {MIN_CHUNK_TOKENS} are needed"));
        }
        if settings.overlap > max_tokens / 2 {
            return Err(format!(
                "chunking.overlap: is {}; at most half of the {max_tokens} tokens of a chunk may be shared",
                settings.overlap
            ));
        }
        let measure = Measure { tokenizer };
        let config = ChunkConfig::new(max_tokens)
            .with_sizer(measure.clone())
            .with_overlap(settings.overlap)
            .expect("half of a chunk is less than a chunk");
        let splitter = Arc::new(match settings.format {
            TextFormat::Plain => Splitter::Plain(TextSplitter::new(config)),
            TextFormat::Markdown => Splitter::Markdown(MarkdownSplitter::new(config)),
        });
        Ok(Self { measure, max_tokens, splitter, has_words: None })
    }

    /// Leaves out chunks in which the model finds nothing, like a line of dashes, beside others in which it does: for want of a vector for
    /// them the whole document could not be embedded.
    pub fn leaving_out(self, has_words: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { has_words: Some(Arc::new(has_words)), ..self }
    }

    /// The chunks of a text in order, each a part of it. Nothing but white space is left out, and what [`Self::leaving_out`] says; no chunk
    /// is longer than the maximum, none is empty, and a text that fits is one chunk: as it stands, or without the white space around it
    /// where it has few tokens in many bytes. A text of nothing but white space has no chunks.
    pub fn cut<'a>(&self, text: &'a str) -> Vec<&'a str> {
        if text.trim().is_empty() {
            return Vec::new();
        }
        let sure = self.measure.surely_fits(self.max_tokens);
        if text.len() <= sure {
            return vec![text];
        }
        // A text of many times the usual length of a chunk is not counted only to learn that it does not fit.
        let usual = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        let window = usual.saturating_mul(CHUNKS_AHEAD);
        if text.len() <= window && self.measure.of(text) <= self.max_tokens {
            return vec![text];
        }
        let chunks = self.cut_long(text, window);
        let Some(has_words) = &self.has_words else { return chunks };
        let with_words: Vec<&str> = chunks.iter().copied().filter(|chunk| has_words(chunk)).collect();
        if with_words.is_empty() { chunks } else { with_words }
    }

    /// Looks at `window` bytes of the text at once, and at more of them where that is not enough for a chunk.
    fn cut_long<'a>(&self, text: &'a str, mut window: usize) -> Vec<&'a str> {
        let usual = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        let mut chunks = Vec::new();
        let (mut start, mut covered) = (0, 0);
        while start < text.len() {
            let rest = &text[start..];
            let end = rest.floor_char_boundary(window);
            let mut cut = self.splitter.cut(&rest[..end]);
            // It has so few tokens that all of it is one chunk, which must not end where the window does, perhaps inside a word.
            if end < rest.len() && cut.len() == 1 {
                window = window.saturating_mul(2);
                continue;
            }
            let longest = cut.iter().map(|(_, chunk)| chunk.len()).max().unwrap_or_default();
            window = longest.max(usual / CHUNKS_AHEAD).saturating_mul(CHUNKS_AHEAD);
            // The last chunk ends where the window does, not where the text is best cut: it is cut again with what follows.
            let again = if end < rest.len() { cut.pop() } else { None };
            for (offset, chunk) in cut {
                // With an overlap the first chunk of a window may lie within the last one of the window before.
                let end = start + offset + chunk.len();
                if end > covered {
                    chunks.push(chunk);
                    covered = end;
                }
            }
            start += again.map_or(end, |(offset, _)| offset);
        }
        chunks
    }
}

impl Splitter {
    fn cut<'a>(&self, text: &'a str) -> Vec<(usize, &'a str)> {
        match self {
            Self::Plain(splitter) => splitter.chunk_indices(text).collect(),
            Self::Markdown(splitter) => splitter.chunk_indices(text).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A token a word, and no more than eight bytes of one.
    struct Words;

    fn words(text: &str) -> usize {
        text.split_whitespace().map(|word| word.len().div_ceil(8)).sum()
    }

    impl Tokenizer for Words {
        fn count(&self, text: &str) -> usize {
            words(text)
        }
    }

    /// OpenAI's tokens.
    struct Cl100k;

    impl Tokenizer for Cl100k {
        fn count(&self, text: &str) -> usize {
            bpe_openai::cl100k_base().count(text)
        }
    }

    fn chunker(max_tokens: usize, overlap: usize, format: TextFormat, tokenizer: impl Tokenizer + 'static) -> Chunker {
        Chunker::new(&ChunkingSettings { max_tokens, overlap, format }, Some(Arc::new(tokenizer)), None).unwrap()
    }

    fn estimating(max_tokens: usize, overlap: usize, format: TextFormat) -> Chunker {
        Chunker::new(&ChunkingSettings { max_tokens, overlap, format }, None, None).unwrap()
    }

    fn without_space<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
        texts.into_iter().flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
    }

    #[test]
    fn a_text_that_fits_is_one_chunk_as_it_stands_and_is_not_counted_without_need() {
        struct Counting(Arc<AtomicUsize>);
        impl Tokenizer for Counting {
            fn count(&self, text: &str) -> usize {
                self.0.fetch_add(1, Ordering::Relaxed);
                words(text)
            }
        }
        let calls = Arc::new(AtomicUsize::new(0));
        let chunker = chunker(10, 0, TextFormat::Plain, Counting(calls.clone()));
        assert_eq!(chunker.cut("a\n\nb c d e"), ["a\n\nb c d e"]);
        assert_eq!(calls.load(Ordering::Relaxed), 0, "ten bytes are at most ten tokens");
        assert_eq!(chunker.cut("longer than ten bytes\n\nbut not words"), ["longer than ten bytes\n\nbut not words"]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_text_without_words_has_no_chunks() {
        let chunker = chunker(8, 0, TextFormat::Plain, Words);
        for text in ["", " ", "\n\t \u{a0}", &" ".repeat(10_000)] {
            assert!(chunker.cut(text).is_empty());
        }
    }

    #[test]
    fn a_long_text_is_cut_at_its_paragraphs_then_its_words() {
        let plain = chunker(8, 0, TextFormat::Plain, Words);
        assert_eq!(
            plain.cut("one two three four five six.\n\nseven eight nine ten. eleven twelve"),
            ["one two three four five six.", "seven eight nine ten. eleven twelve"]
        );
        assert_eq!(
            plain.cut("a b c d e f g h i j k l m n o p q r s t"),
            ["a b c d e f g h", "i j k l m n o p", "q r s t"]
        );
        let markdown = chunker(8, 0, TextFormat::Markdown, Words);
        assert_eq!(
            markdown.cut("# One\na b c d\n\n# Two\ne f g h i j"),
            ["# One\na b c d", "# Two\ne f g h i j"],
            "a heading starts a chunk"
        );
    }

    #[test]
    fn neighbours_share_the_overlap() {
        let chunker = chunker(8, 2, TextFormat::Plain, Words);
        assert_eq!(chunker.cut("a b c d e f g h i j k l m n"), ["a b c d e f g h", "g h i j k l m n"]);
    }

    #[test]
    fn where_the_tokenizer_is_not_known_a_token_is_four_bytes() {
        let chunker = estimating(8, 0, TextFormat::Plain);
        assert_eq!(chunker.cut(&"x".repeat(32)).len(), 1);
        assert_eq!(chunker.cut(&"x".repeat(33)), ["x".repeat(32), "x".to_owned()]);
    }

    #[test]
    fn the_model_limit_goes_first_and_impossible_settings_are_refused() {
        let new = |max_tokens, overlap, limit| {
            let settings = ChunkingSettings { max_tokens, overlap, format: TextFormat::Plain };
            Chunker::new(&settings, Some(Arc::new(Words)), limit).map(|chunker| chunker.max_tokens)
        };
        assert_eq!(new(8192, 0, Some(512)), Ok(512));
        assert_eq!(new(256, 0, Some(512)), Ok(256));
        assert_eq!(new(256, 0, None), Ok(256));
        assert_eq!(new(7, 0, None).unwrap_err(), "chunking.max_tokens: is 7; at least 8 are needed");
        assert_eq!(new(512, 256, None), Ok(512));
        let error = new(1024, 257, Some(512)).unwrap_err();
        assert_eq!(error, "chunking.overlap: is 257; at most half of the 512 tokens of a chunk may be shared");
    }

    #[test]
    fn a_text_much_longer_than_the_window_is_cut_as_well_as_a_short_one() {
        let chunker = chunker(64, 0, TextFormat::Plain, Words);
        let text = "Some words of a sentence. And of another one, longer than that.\n\n".repeat(3_000);
        let chunks = chunker.cut(&text);
        assert_eq!(without_space(chunks.iter().copied()), without_space([text.as_str()]));
        let least = words(&text).div_ceil(64);
        assert!(chunks.len() <= least + least / 2, "{} chunks where {least} would do", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.ends_with('.')), "no sentence is cut");
    }

    #[test]
    fn a_text_of_few_tokens_in_many_bytes_is_cut_between_its_words() {
        let chunker = chunker(64, 0, TextFormat::Plain, Words);
        let sparse = format!("boots are warm{}", " ".repeat(900));
        let text = sparse.repeat(50);
        let chunks = chunker.cut(&text);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(chunks.iter().flat_map(|chunk| words(chunk)).collect::<Vec<_>>(), words(&text), "no word is cut");
        assert_eq!(chunks.len(), 150_usize.div_ceil(64));
        let fits = sparse.repeat(20);
        assert_eq!(chunker.cut(&fits), [fits.trim()], "of 60 tokens in 18,280 bytes");
    }

    #[test]
    fn chunks_without_a_word_of_the_model_are_left_out_beside_others() {
        let chunker =
            chunker(8, 0, TextFormat::Plain, Words).leaving_out(|chunk| chunk.contains(char::is_alphanumeric));
        let (first, rule, last) = ("a b c d e f g h", "- ".repeat(8), "i j k");
        let text = format!("{first}\n\n{rule}\n\n{last}");
        assert_eq!(chunker.cut(&text), [first, last]);
        assert_eq!(chunker.cut(&rule.repeat(3)).len(), 3, "so that somebody says what is wrong with it");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn chunks_fit_are_not_empty_and_lose_nothing(
            parts in prop::collection::vec(prop_oneof![
                "[a-z]{1,30}", "[ \n.#>*`]{1,6}", "\\PC{1,5}", Just("👩‍👩‍👧‍👦🏽e\u{301}\u{302}\u{303}".to_owned()), "x{200}",
            ], 0..120),
            max in 8..40_usize,
            markdown in any::<bool>(),
            exact in 0..3,
        ) {
            let text = parts.concat();
            let format = if markdown { TextFormat::Markdown } else { TextFormat::Plain };
            let chunker = match exact {
                0 => chunker(max, 0, format, Words),
                1 => chunker(max, 0, format, Cl100k),
                _ => estimating(max, 0, format),
            };
            let chunks = chunker.cut(&text);
            prop_assert_eq!(without_space(chunks.iter().copied()), without_space([text.as_str()]));
            for chunk in &chunks {
                prop_assert!(chunker.measure.of(chunk) <= max, "{} tokens in {chunk:?}", chunker.measure.of(chunk));
                prop_assert!(!chunk.trim().is_empty());
            }
            prop_assert_eq!(chunks, chunker.cut(&text));
        }

        #[test]
        fn with_overlap_every_word_is_in_some_chunk_in_order_and_every_chunk_says_something_new(
            ends in prop::collection::vec(prop_oneof![8 => Just(" "), 2 => Just(". "), 1 => Just(".\n\n")], 1..400),
            max in 8..20_usize,
            part in 2..5_usize,
        ) {
            let text: String = ends.iter().enumerate().map(|(number, end)| format!("{number}{end}")).collect();
            let (count, overlap) = (ends.len(), max / part);
            let mut next = 0;
            for chunk in chunker(max, overlap, TextFormat::Plain, Words).cut(&text) {
                let before = next;
                for word in chunk.split_whitespace() {
                    let word: usize = word.trim_matches('.').parse().unwrap();
                    prop_assert!(word <= next, "{next} is missing");
                    next = next.max(word + 1);
                }
                prop_assert!(next > before, "it says nothing that the one before does not: {chunk:?}");
            }
            prop_assert_eq!(next, count);
        }
    }
}
