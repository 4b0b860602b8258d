//! Compressed files as streams.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::gzip::Members;

/// The most that a Zstandard file may have its reader remember, as a power of two: 128 MiB, what the `zstd` command allows too unless it
/// is told otherwise.
const MAX_WINDOW_LOG: u32 = 27;

/// What the decoder says when a file asks for more.
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl Compression {
    /// How a file of this name is compressed.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstandard,
            _ => Self::None,
        }
    }

    /// The bytes of the file as they were before. Damage shows as an error that does not come from the operating system.
    pub fn decompress(self, file: Arc<File>) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(Members::new(BufReader::with_capacity(64 << 10, file))),
            Self::Zstandard => {
                let mut decoder = zstd::Decoder::new(file)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(Frames(decoder))
            }
        })
    }
}

/// A Zstandard file. Where it is sound and still not read, the error says what to do.
struct Frames(zstd::Decoder<'static, BufReader<Arc<File>>>);

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|error| {
            if error.to_string() != WINDOW_TOO_LARGE {
                return error;
            }
            let mebibytes = 1 << (MAX_WINDOW_LOG - 20);
            io::Error::other(format!(
                "it takes too much memory; compress it with a window of at most {mebibytes} MiB (`zstd --long={MAX_WINDOW_LOG}` or less)"
            ))
        })
    }
}
