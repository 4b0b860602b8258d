//! The text of HTML, which is what descriptions of products often are.

use std::borrow::Cow;

use minijinja_contrib::filters::striptags;

/// Elements that may begin and end within a word. The tags of all others part words.
const WITHIN_WORDS: [&str; 17] = [
    "a", "abbr", "b", "big", "del", "em", "font", "i", "ins", "mark", "s", "small", "span", "strong", "sub", "sup", "u",
];

/// Elements whose content is no text.
const UNSEEN: [&str; 2] = ["script", "style"];

/// The text that a reader of this HTML sees, with single spaces between words. A text without tags and entities keeps all but its line
/// breaks; a tag that is cut off at the end is left out.
///
/// The filter that does most of it takes every `<` for a tag, joins the words of two paragraphs, and shows scripts.
pub(super) fn text_of_html(html: Cow<'_, str>) -> String {
    let (mut text, mut rest) = (String::with_capacity(html.len()), &*html);
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let (instead, length) = markup(&rest[at..]);
        text.push_str(instead);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    striptags(text)
}

/// What the `<` at the beginning stands for, and how long that is.
fn markup(html: &str) -> (&'static str, usize) {
    if html.starts_with("<!--") {
        return ("", behind("-->", html, 2));
    }
    let tag = html[1..].strip_prefix('/').unwrap_or(&html[1..]);
    if !tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
        return ("&lt;", 1);
    }
    let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let is_one_of = |names: &[&str]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
    let mut end = behind(">", html, 0);
    if is_one_of(&UNSEEN) && !html.starts_with("</") {
        let is_closing = |at: &usize| {
            html.as_bytes()[at + 2..].get(..name.len()).is_some_and(|other| other.eq_ignore_ascii_case(name.as_bytes()))
        };
        let closing = html[end..].match_indices("</").map(|(at, _)| end + at).find(is_closing);
        end = closing.map_or(html.len(), |at| behind(">", html, at));
    }
    (if is_one_of(&WITHIN_WORDS) { "" } else { " " }, end)
}

/// The end of the first of these, from there on; the end of all where there is none.
fn behind(mark: &str, html: &str, from: usize) -> usize {
    html[from..].find(mark).map_or(html.len(), |at| from + at + mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_html_is_what_a_reader_sees() {
        for (html, text) in [
            ("<p>Dry feet.</p><p>Warm&nbsp;feet &amp; hands</p>", "Dry feet. Warm feet & hands"),
            ("<ul>\n  <li>one</li><LI class=\"x\">two</li>\n</ul>three<br/>four", "one two three four"),
            ("<b>W</b>ater<STRONG>proof</STRONG>, H<sub>2</sub>O", "Waterproof, H2O"),
            ("a<!-- <p> -- > -->b<!DOCTYPE html><?xml version=\"1.0\"?>c", "ab c"),
            ("<style>p > a { color: red }</style>a<script>if (1 < 2) { '<p>' }</SCRIPT\n>b", "a b"),
            (
                "&Auml;pfel f&uuml;r 5&#x20AC; &#8211; &lt;b&gt; &hearts; &nosuch; AT&T",
                "Äpfel für 5€ – <b> ♥ &nosuch; AT&T",
            ),
            ("for < 5 °C and > 3 <3, 2<4", "for < 5 °C and > 3 <3, 2<4"),
            ("  no\n\tHTML  at all ", "no HTML at all"),
            ("cut off <stro", "cut off"),
            ("cut <script>off", "cut"),
            ("cut <!-- off", "cut"),
            ("a<!-->b<!--->c<!---->d", "abcd"),
            ("<", "<"),
            ("</", "</"),
            ("é<é><p>é</p></é>", "é<é> é </é>"),
            ("", ""),
        ] {
            assert_eq!(text_of_html(html.into()), text, "{html}");
        }
    }

    #[test]
    fn html_that_never_ends_is_read_once() {
        for part in ["<a", "<!--", "<script>", "</", "<p>", "&", "<script></scrip"] {
            assert!(text_of_html(part.repeat(2_000_000).into()).len() <= 8 * 2_000_000, "{part}");
        }
    }
}
