//! What a collection holds, point by point. The program never asks for it: the contract of collections, `testkit::index_contract`, does,
//! to compare what is there with what was written. So it is compiled with the feature `testkit` only.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::collection::{Collection, CollectionError, Point};

/// See the module.
pub trait Inspect: Collection {
    /// Those of these points that it holds, in any order. At most 100 are asked for at once. Sees every write that was answered, but for
    /// Pinecone's, which may miss it for a while: the contract of collections asks a stub, and would have to wait for the service itself.
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>>;
}

/// That a point of this pipeline is not as it was written.
pub fn changed() -> CollectionError {
    CollectionError::Fatal("it has a point that is not as it was written: another program changed it".to_owned())
}
