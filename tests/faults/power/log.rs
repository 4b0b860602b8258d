//! The log that `shim.c` writes: what was done to the files of a folder, in order.

use std::path::Path;

/// Names a file while it exists; the folder itself is [`FOLDER`].
pub type Inode = u64;

pub const FOLDER: Inode = 0;

/// One thing that was done.
pub enum Deed {
    Make { file: Inode, name: String },
    Write { file: Inode, offset: usize, data: Vec<u8> },
    Cut { file: Inode, length: usize },
    Sync { file: Inode },
    Rename { from: String, to: String },
    Remove { name: String },
}

/// See the module.
pub struct Entry {
    pub deed: Deed,
    /// The length of the log up to its end.
    pub end: u64,
}

/// Reads a whole log about this folder.
pub fn read(log: &Path, folder: &Path) -> Vec<Entry> {
    let bytes = std::fs::read(log).unwrap();
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let mut take = |length: usize| rest.split_off(..length).expect("entries are whole");
        let mut number = |length: usize| {
            let mut wide = [0; 8];
            wide[..length].copy_from_slice(take(length));
            u64::from_le_bytes(wide)
        };
        let (kind, length, file, offset) = (number(4), number(4), number(8), number(8) as usize);
        let data = take(length as usize);
        let mut names = data.split(|byte| *byte == 0).map(|path| {
            let path = Path::new(std::str::from_utf8(path).unwrap());
            path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()
        });
        let mut name = || names.next().unwrap();
        let deed = match kind {
            1 => Deed::Make { file, name: name() },
            2 => Deed::Write { file, offset, data: data.to_vec() },
            3 => Deed::Cut { file, length: offset },
            4 => Deed::Sync { file },
            5 => Deed::Rename { from: name(), to: name() },
            6 => Deed::Remove { name: name() },
            _ => panic!("no entry begins with {kind}"),
        };
        entries.push(Entry { deed, end: (bytes.len() - rest.len()) as u64 });
    }
    entries
}
