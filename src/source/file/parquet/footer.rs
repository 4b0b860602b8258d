//! The footer of a Parquet file, looked at before it is decoded: the decoder reserves and descends as much as the file says.
//!
//! A footer is the struct `FileMetaData` of parquet.thrift (apache/parquet-format) in Thrift's compact protocol (apache/thrift,
//! doc/specs/thrift-compact-protocol.md). Its schema is a list of elements, each of which is followed by as many as it says are in it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The longest footer that is read.
const MAX_FOOTER: u32 = 16 << 20;

/// How deep columns may lie inside each other. A list in a record takes three levels.
const MAX_NESTING: usize = 200;

/// How deep the values of a footer lie inside each other, at most; the format needs a handful of levels.
const MAX_DEPTH: usize = 32;

/// How a footer ends, behind its length.
const MAGIC: &[u8] = b"PAR1";

/// Refuses a footer that is too long, or whose columns are nested too deep.
pub(super) fn check(mut file: &File) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut end = [0; 8];
    // A file too short for this, or of another kind, is told by the decoder.
    if file.seek(SeekFrom::End(-8)).is_err() {
        return Ok(());
    }
    file.read_exact(&mut end).map_err(failed)?;
    let [a, b, c, d, magic @ ..] = end;
    let length = u32::from_le_bytes([a, b, c, d]);
    if magic != MAGIC {
        return Ok(());
    }
    if length > MAX_FOOTER {
        return Err(format!("its footer has {length} bytes; at most {MAX_FOOTER} are read"));
    }
    if file.seek(SeekFrom::End(-8 - i64::from(length))).is_err() {
        return Ok(());
    }
    let mut footer = vec![0; length as usize];
    file.read_exact(&mut footer).map_err(failed)?;
    check_nesting(&footer)
}

fn check_nesting(footer: &[u8]) -> Result<(), String> {
    const SCHEMA: i64 = 2;
    let damaged = || "its footer is damaged".to_owned();
    let mut thrift = Thrift(footer);
    let mut last = 0;
    while let Some((field, kind)) = thrift.field(&mut last).ok_or_else(damaged)? {
        if (field, kind) != (SCHEMA, LIST) {
            thrift.pass(kind, 0).ok_or_else(damaged)?;
            continue;
        }
        let (count, _) = thrift.list().ok_or_else(damaged)?;
        // How many elements are still to come in each of those that are open.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..count {
            let children = thrift.schema_element().ok_or_else(damaged)?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > count {
                return Err(damaged());
            }
            open.push(children);
            while open.pop_if(|left| *left == 0).is_some() {}
            if open.len() > MAX_NESTING {
                return Err(format!("its columns are nested more than {MAX_NESTING} levels deep"));
            }
        }
    }
    Ok(())
}

/// Kinds of values.
const I32: u8 = 5;
const LIST: u8 = 9;

/// What is left of a struct. Every method answers nothing where it is not what it should be.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn bytes(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// The number and the kind of the next field; the inner `None` at the end of the struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.zigzag()?,
            more => last.checked_add(i64::from(more))?,
        };
        Some(Some((*last, head & 0xf)))
    }

    /// How many elements a list has, and their kind.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 0xf { self.varint()? } else { u64::from(head >> 4) };
        Some((count, head & 0xf))
    }

    /// How many elements are in this one.
    fn schema_element(&mut self) -> Option<u64> {
        const CHILDREN: i64 = 5;
        let (mut last, mut children) = (0, 0);
        while let Some((field, kind)) = self.field(&mut last)? {
            match (field, kind) {
                (CHILDREN, I32) => children = u64::try_from(self.zigzag()?).ok()?,
                _ => self.pass(kind, 0)?,
            }
        }
        Some(children)
    }

    /// Passes over the value of a field.
    fn pass(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            // The kind is the value: true or false.
            1 | 2 => Some(()),
            3 => self.bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.varint()?;
                self.bytes(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.pass_element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.pass_element(kinds >> 4, depth)?;
                    self.pass_element(kinds & 0xf, depth)
                })
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.pass(kind, depth + 1)?;
                }
                Some(())
            }
            13 => self.bytes(16),
            _ => None,
        }
    }

    /// Passes over an element of a list or map, where true and false take a byte.
    fn pass_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        let kind = if matches!(kind, 1 | 2) { 3 } else { kind };
        self.pass(kind, depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a version and a schema of elements with so many children each.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
        let mut count = children.len();
        while count >= 0x80 {
            footer.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        for children in children {
            // Its name, and its children.
            footer.extend([0x48, 1, b'a', 0x15, children * 2, 0]);
        }
        footer.push(0);
        footer
    }

    #[test]
    fn columns_may_be_nested_and_not_for_ever() {
        let nested = |levels: usize| [vec![1; levels], vec![0]].concat();
        assert_eq!(check_nesting(&footer(&[3, 0, 2, 0, 0, 0])), Ok(()));
        assert_eq!(check_nesting(&footer(&nested(MAX_NESTING))), Ok(()));
        for levels in [MAX_NESTING + 1, 100_000] {
            let refused = check_nesting(&footer(&nested(levels))).unwrap_err();
            assert!(refused.contains("nested more than 200 levels"), "{refused}");
        }
    }

    #[test]
    fn a_footer_that_promises_more_than_it_has_is_damaged() {
        let whole = footer(&[2, 0, 0]);
        assert_eq!(check_nesting(&whole), Ok(()));
        for cut in 0..whole.len() {
            assert_eq!(check_nesting(&whole[..cut]), Err("its footer is damaged".to_owned()), "{cut}");
        }
        assert!(check_nesting(&footer(&[60, 0])).is_err(), "more in it than there are");
        let deep = [[0x1c; 100].as_slice(), &[0; 101]].concat();
        assert!(check_nesting(&deep).is_err(), "structs in structs");
    }
}
