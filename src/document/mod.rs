//! What a document is and how changes become one: pure code, no I/O, no async.
//!
//! A record's bytes are read by [`decode`] and become a [`Change`] by [`mapping`]; changes are joined into a [`Document`] by
//! [`merge`], a document is rendered to a text by [`template`], the text is cut by [`chunk`], and each chunk is named by its
//! [`fingerprint`].

pub mod change;
pub mod chunk;
pub mod decode;
mod digest;
mod field;
pub mod fingerprint;
mod glance;
mod html;
pub mod mapping;
pub mod merge;
mod metadata;
pub mod template;
pub mod vector;
mod version;
pub(crate) mod versioning;

pub use change::{Change, DocumentId, Fields, InvalidId, Operation};
pub use digest::RecordDigest;
pub(crate) use field::{FieldName, pointer_key, quoted};
pub use fingerprint::Fingerprint;
pub use merge::Document;
pub use vector::Vector;
pub use version::Version;
