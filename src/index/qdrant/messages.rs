//! The part of Qdrant's gRPC interface that is needed, by its published field numbers.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct PointId {
    #[prost(oneof = "Id", tags = "1, 2")]
    pub id: Option<Id>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Id {
    #[prost(uint64, tag = "1")]
    Number(u64),
    #[prost(string, tag = "2")]
    Uuid(String),
}

/// A JSON value in which whole numbers and floats are told apart.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Double(f64),
    #[prost(int64, tag = "3")]
    Integer(i64),
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(bool, tag = "5")]
    Boolean(bool),
    #[prost(message, tag = "6")]
    Object(Object),
    #[prost(message, tag = "7")]
    List(List),
}

/// What a point holds beside its vector.
pub type Payload = BTreeMap<String, Value>;

#[derive(Clone, PartialEq, Message)]
pub struct Object {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: Payload,
}

#[derive(Clone, PartialEq, Message)]
pub struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dense {
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Vector {
    #[prost(message, optional, tag = "101")]
    pub dense: Option<Dense>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Vectors {
    #[prost(message, optional, tag = "1")]
    pub unnamed: Option<Vector>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PointStruct {
    #[prost(message, optional, tag = "1")]
    pub id: Option<PointId>,
    #[prost(btree_map = "string, message", tag = "3")]
    pub payload: Payload,
    #[prost(message, optional, tag = "4")]
    pub vectors: Option<Vectors>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Upsert {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(bool, tag = "2")]
    pub wait: bool,
    #[prost(message, repeated, tag = "3")]
    pub points: Vec<PointStruct>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(bool, tag = "2")]
    pub wait: bool,
    #[prost(message, optional, tag = "3")]
    pub points: Option<Selector>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Selector {
    #[prost(message, optional, tag = "1")]
    pub ids: Option<Ids>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ids {
    #[prost(message, repeated, tag = "1")]
    pub ids: Vec<PointId>,
}

/// The status of an [`Update`] that is done.
pub const COMPLETED: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct Update {
    #[prost(int32, tag = "2")]
    pub status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct WriteAnswer {
    #[prost(message, optional, tag = "1")]
    pub update: Option<Update>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchAnswer {
    #[prost(message, repeated, tag = "1")]
    pub updates: Vec<Update>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UpdateBatch {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(bool, tag = "2")]
    pub wait: bool,
    #[prost(message, repeated, tag = "3")]
    pub operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    #[prost(message, optional, tag = "4")]
    pub overwrite: Option<OverwritePayload>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OverwritePayload {
    #[prost(btree_map = "string, message", tag = "1")]
    pub payload: Payload,
    #[prost(message, optional, tag = "2")]
    pub points: Option<Selector>,
}

/// `true`: all of it.
#[derive(Clone, PartialEq, Message)]
pub struct With {
    #[prost(bool, optional, tag = "1")]
    pub all: Option<bool>,
    #[prost(message, optional, tag = "2")]
    pub only: Option<Only>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Only {
    #[prost(string, repeated, tag = "1")]
    pub fields: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Get {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, repeated, tag = "2")]
    pub ids: Vec<PointId>,
    #[prost(message, optional, tag = "4")]
    pub with_payload: Option<With>,
    #[prost(message, optional, tag = "5")]
    pub with_vectors: Option<With>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetAnswer {
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<Retrieved>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Retrieved {
    #[prost(message, optional, tag = "1")]
    pub id: Option<PointId>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub payload: Payload,
    #[prost(message, optional, tag = "4")]
    pub vectors: Option<Vectors>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Count {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(bool, tag = "3")]
    pub exact: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct CountAnswer {
    #[prost(message, optional, tag = "1")]
    pub counted: Option<Counted>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Counted {
    #[prost(uint64, tag = "1")]
    pub count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryPoints {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, optional, tag = "3")]
    pub query: Option<Query>,
    #[prost(message, optional, tag = "5")]
    pub filter: Option<Filter>,
    #[prost(uint64, optional, tag = "8")]
    pub limit: Option<u64>,
    #[prost(message, optional, tag = "11")]
    pub with_payload: Option<With>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Query {
    #[prost(message, optional, tag = "1")]
    pub nearest: Option<VectorInput>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VectorInput {
    #[prost(message, optional, tag = "2")]
    pub dense: Option<Dense>,
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryAnswer {
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<Scored>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Scored {
    #[prost(message, optional, tag = "1")]
    pub id: Option<PointId>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub payload: Payload,
    #[prost(float, tag = "3")]
    pub score: f32,
}

/// One of `should`, where there are any, all of `must`, and none of `must_not`.
#[derive(Clone, PartialEq, Message)]
pub struct Filter {
    #[prost(message, repeated, tag = "1")]
    pub should: Vec<Condition>,
    #[prost(message, repeated, tag = "2")]
    pub must: Vec<Condition>,
    #[prost(message, repeated, tag = "3")]
    pub must_not: Vec<Condition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Condition {
    #[prost(oneof = "OneCondition", tags = "1, 2, 3, 4")]
    pub one: Option<OneCondition>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum OneCondition {
    #[prost(message, tag = "1")]
    Field(FieldCondition),
    #[prost(message, tag = "2")]
    IsEmpty(IsEmpty),
    #[prost(message, tag = "3")]
    HasId(Ids),
    #[prost(message, tag = "4")]
    Filter(Filter),
}

#[derive(Clone, PartialEq, Message)]
pub struct FieldCondition {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub matches: Option<Match>,
    #[prost(message, optional, tag = "3")]
    pub range: Option<Range>,
}

#[derive(Clone, PartialEq, Message)]
pub struct IsEmpty {
    #[prost(string, tag = "1")]
    pub key: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Match {
    #[prost(oneof = "OneMatch", tags = "3, 5")]
    pub one: Option<OneMatch>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum OneMatch {
    #[prost(bool, tag = "3")]
    Boolean(bool),
    #[prost(message, tag = "5")]
    Texts(Texts),
}

#[derive(Clone, PartialEq, Message)]
pub struct Texts {
    #[prost(string, repeated, tag = "1")]
    pub texts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Range {
    #[prost(double, optional, tag = "1")]
    pub lt: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub gt: Option<f64>,
    #[prost(double, optional, tag = "3")]
    pub gte: Option<f64>,
    #[prost(double, optional, tag = "4")]
    pub lte: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Distance {
    Unknown = 0,
    Cosine = 1,
    Euclid = 2,
    Dot = 3,
    Manhattan = 4,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateCollection {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, optional, tag = "10")]
    pub vectors: Option<VectorsConfig>,
}

/// Nothing where the vectors have names.
#[derive(Clone, PartialEq, Message)]
pub struct VectorsConfig {
    #[prost(message, optional, tag = "1")]
    pub unnamed: Option<VectorParams>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VectorParams {
    #[prost(uint64, tag = "1")]
    pub size: u64,
    #[prost(enumeration = "Distance", tag = "2")]
    pub distance: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetCollection {
    #[prost(string, tag = "1")]
    pub collection: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct CollectionAnswer {
    #[prost(message, optional, tag = "1")]
    pub info: Option<CollectionInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CollectionInfo {
    #[prost(message, optional, tag = "7")]
    pub config: Option<CollectionConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CollectionConfig {
    #[prost(message, optional, tag = "1")]
    pub params: Option<CollectionParams>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CollectionParams {
    #[prost(message, optional, tag = "5")]
    pub vectors: Option<VectorsConfig>,
}
