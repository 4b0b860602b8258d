//! What a file is called: in messages, in the positions of dead letters, and in the ledger.

use std::fmt::Write;
use std::path::Path;

/// The name of this file and of no other: its path, in which each byte that is not UTF-8 is written as `\xF6`.
///
/// A path may hold these very characters. There `\x` becomes `\x5Cx`, so that whatever looks like an escape is one.
pub(super) fn name_of(path: &Path) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        name.push_str(&chunk.valid().replace(r"\x", r"\x5Cx"));
        for byte in chunk.invalid() {
            write!(name, r"\x{byte:02X}").expect("a String takes everything");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_path_in_utf_8_is_its_own_name_and_no_two_paths_share_one() {
        for (path, name) in [
            (&b"in/gr\xC3\xB6sse.jsonl"[..], "in/grösse.jsonl"),
            (b"in/a b\\n\\.csv", r"in/a b\n\.csv"),
            (b"gr\xF6sse", r"gr\xF6sse"),
            (b"gr\xE4sse", r"gr\xE4sse"),
            (br"gr\xF6sse", r"gr\x5CxF6sse"),
            (br"gr\x5CxF6sse", r"gr\x5Cx5CxF6sse"),
            (b"gr\\\xF6sse", r"gr\\xF6sse"),
            (b"\\\\x\xF6\xFF", r"\\x5Cx\xF6\xFF"),
        ] {
            assert_eq!(name_of(Path::new(OsStr::from_bytes(path))), name);
        }
    }
}
