//! The graph on the disk: what usearch writes, then the points in it, then a footer. A point is its key, what stands for its vector, and
//! its vector's length, 8 bytes each, little-endian.
//!
//! usearch trusts what it reads, so nothing is given to it before the checksum over the whole file was found right. A
//! file that is missing, damaged or of another ledger costs time, never data: the graph is built again.
//!
//! Footer, little-endian: magic (8 bytes), version (4), metric (4), dimensions (8), bytes of usearch (8), points (8),
//! covered (8), ledger (16), CRC-32 of all before (4).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::ledger::PointKey;
use crate::settings::index::Metric;

use super::graph::{Graph, Point, Shape};
use super::twins::Likeness;

const MAGIC: &[u8; 8] = b"VctdGrph";
/// Grows whenever a graph that an older Vectide saved must not be used: another layout, scalar or metric.
const VERSION: u32 = 4;
const FOOTER_BYTES: usize = 68;
const POINT_BYTES: usize = 24;
/// Read at once.
const BLOCK: usize = 256 * 1024;

/// Which ledger a graph was made from: a random number kept in both.
pub(super) type LedgerMark = u128;

/// Whether a graph is read to be changed, or looked at where it lies: at once, and only to search it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Change,
    Search,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Footer {
    metric: u32,
    dimensions: u64,
    body: u64,
    points: u64,
    covered: PointKey,
    ledger: LedgerMark,
}

impl Footer {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.metric.to_le_bytes());
        for number in [self.dimensions, self.body, self.points, self.covered] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.ledger.to_le_bytes());
        bytes
    }

    /// The footer and the checksum behind it.
    fn from_bytes(bytes: &[u8; FOOTER_BYTES]) -> Result<(Self, u32), String> {
        let mut rest = &bytes[..];
        let mut next = |length: usize| {
            let (field, tail) = rest.split_at(length);
            rest = tail;
            let mut wide = [0; 16];
            wide[..length].copy_from_slice(field);
            u128::from_le_bytes(wide)
        };
        if next(MAGIC.len()) != u128::from(u64::from_le_bytes(*MAGIC)) {
            return Err("it is cut off, or no graph".to_owned());
        }
        let version = next(4);
        if version != u128::from(VERSION) {
            return Err(format!("it has format {version}, and this Vectide knows format {VERSION}"));
        }
        let metric = next(4) as u32;
        let mut number = || next(8) as u64;
        let (dimensions, body, points, covered) = (number(), number(), number(), number());
        let ledger = next(16);
        let checksum = next(4) as u32;
        Ok((Self { metric, dimensions, body, points, covered, ledger }, checksum))
    }
}

fn number_of(metric: Metric) -> u32 {
    match metric {
        Metric::Cosine => 1,
        Metric::Dot => 2,
        Metric::L2 => 3,
    }
}

/// Puts the graph in the place of the file, whole or not at all, durably.
pub(super) fn save(graph: &Graph, ledger: LedgerMark, path: &Path) -> Result<(), String> {
    let temporary = path.with_extension("saving");
    let saved = write(graph, ledger, &temporary).and_then(|()| {
        let put = || -> io::Result<()> {
            fs::rename(&temporary, path)?;
            sync_folder(path)
        };
        put().map_err(|error| error.to_string())
    });
    saved.map_err(|error| {
        // What is left of it is written over by the next save.
        let _ = fs::remove_file(&temporary);
        format!("cannot save the search graph as {}: {error}", path.display())
    })
}

/// Takes the file away, durably.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    let removed = fs::remove_file(path).and_then(|()| sync_folder(path));
    removed.map_err(|error| format!("{} cannot be removed: {error}; remove it by hand", path.display()))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn write(graph: &Graph, ledger: LedgerMark, path: &Path) -> Result<(), String> {
    // It says that it failed, and leaves why to the system.
    let failed = |error| format!("{} (usearch: {error})", io::Error::last_os_error());
    graph.index().save(text_of(path)?).map_err(failed)?;
    let append = || -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let (body, whole) = (file.metadata()?.len(), graph.index().serialized_length() as u64);
        // It closes the file without asking whether its last bytes got there.
        if body != whole {
            return Err(io::Error::other(format!("{body} of {whole} bytes were written; is the disk full?")));
        }
        let mut checksum = crc32fast::Hasher::new();
        feed(&mut checksum, &mut file, body)?;
        let shape = graph.shape();
        let footer = Footer {
            metric: number_of(shape.metric),
            dimensions: shape.dimensions as u64,
            body,
            points: graph.points().len() as u64,
            covered: graph.covered,
            ledger,
        };
        let mut out = BufWriter::with_capacity(BLOCK, &mut file);
        let mut put = |bytes: &[u8]| {
            checksum.update(bytes);
            out.write_all(bytes)
        };
        for point in graph.points() {
            put(&point.key.to_le_bytes())?;
            put(&point.likeness.0.to_le_bytes())?;
            put(&point.length.to_le_bytes())?;
        }
        put(&footer.to_bytes())?;
        out.write_all(&checksum.finalize().to_le_bytes())?;
        out.flush()?;
        drop(out);
        file.sync_all()
    };
    append().map_err(|error| error.to_string())
}

/// The graph in the file; nothing when there is no file.
///
/// # Errors
/// Why it cannot be used, as the end of a sentence about the file.
pub(super) fn load(path: &Path, shape: Shape, ledger: LedgerMark, access: Access) -> Result<Option<Graph>, String> {
    match File::open(path) {
        Ok(mut file) => read(&mut file, shape, ledger, access).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The graph in this file, whichever has its place by now: the process that writes may put a newer one there at any time.
pub(super) fn read(file: &mut File, shape: Shape, ledger: LedgerMark, access: Access) -> Result<Graph, String> {
    let (footer, points) = check(file).map_err(|error| error.to_string())?;
    if footer.ledger != ledger {
        return Err("it belongs to another ledger".to_owned());
    }
    if (footer.metric, footer.dimensions) != (number_of(shape.metric), shape.dimensions as u64) {
        return Err("it was made for another metric or number of dimensions".to_owned());
    }
    let graph = Graph::new(shape)?;
    // usearch opens files by name: this one stands for the very file that was checked. Not every system then begins at its start.
    let name = format!("/dev/fd/{}", file.as_raw_fd());
    file.rewind().map_err(|error| error.to_string())?;
    let filled = match access {
        Access::Change => graph.index().load(&name),
        Access::Search => graph.index().view(&name),
    };
    filled.map_err(|error| format!("{name}: {error}"))?;
    graph.restored(points, footer.covered)
}

/// Reads the whole file and compares its checksum.
fn check(file: &mut File) -> io::Result<(Footer, Vec<Point>)> {
    let length = file.metadata()?.len();
    let Some(before_footer) = length.checked_sub(FOOTER_BYTES as u64) else {
        return Err(io::Error::other("it is cut off"));
    };
    let mut bytes = [0; FOOTER_BYTES];
    file.seek(SeekFrom::Start(before_footer))?;
    file.read_exact(&mut bytes)?;
    let (footer, checksum) = Footer::from_bytes(&bytes).map_err(io::Error::other)?;
    let points = footer.points.checked_mul(POINT_BYTES as u64);
    if points.and_then(|points| points.checked_add(footer.body)) != Some(before_footer) {
        return Err(io::Error::other("it is cut off"));
    }
    let mut found = crc32fast::Hasher::new();
    file.seek(SeekFrom::Start(0))?;
    feed(&mut found, file, footer.body)?;
    let mut points = vec![0; (before_footer - footer.body) as usize];
    file.read_exact(&mut points)?;
    found.update(&points);
    found.update(&bytes[..FOOTER_BYTES - 4]);
    if found.finalize() != checksum {
        return Err(io::Error::other("it is damaged: its checksum is wrong"));
    }
    let point = |bytes: &[u8; POINT_BYTES]| {
        let numbers = bytes.as_chunks().0;
        Point {
            key: PointKey::from_le_bytes(numbers[0]),
            likeness: Likeness(u64::from_le_bytes(numbers[1])),
            length: f64::from_le_bytes(numbers[2]),
        }
    };
    Ok((footer, points.as_chunks().0.iter().map(point).collect()))
}

fn feed(checksum: &mut crc32fast::Hasher, file: &mut File, length: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = length;
    while left > 0 {
        let block = &mut block[..left.min(BLOCK as u64) as usize];
        file.read_exact(block)?;
        checksum.update(block);
        left -= block.len() as u64;
    }
    Ok(())
}

fn text_of(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is no UTF-8 text", path.display()))
}
