//! The part of Milvus' gRPC interface that is needed, by its published field numbers.

use prost::{Enumeration, Message, Oneof};

/// How an answer ended. Servers before 2.3.2 set `error_code` alone, newer ones both.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub error_code: i32,
    #[prost(string, tag = "2")]
    pub reason: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
    #[prost(bool, tag = "4")]
    pub retriable: bool,
}

/// An answer says in itself how it ended.
pub trait Answer: Message + Default + 'static {
    /// None is success.
    fn status(&self) -> Option<&Status>;
}

macro_rules! answers {
    ($($answer:ty),*) => { $(
        impl Answer for $answer {
            fn status(&self) -> Option<&Status> {
                self.status.as_ref()
            }
        }
    )* };
}

answers!(Description, Indexes, Mutation, Rows, SearchResults);

impl Answer for Status {
    fn status(&self) -> Option<&Status> {
        Some(self)
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

impl KeyValue {
    pub fn new(key: &str, value: impl ToString) -> Self {
        Self { key: key.into(), value: value.to_string() }
    }
}

/// The value of a key.
pub fn value<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DataType {
    None = 0,
    Int64 = 5,
    VarChar = 21,
    Json = 23,
    FloatVector = 101,
}

#[derive(Clone, PartialEq, Message)]
pub struct CollectionSchema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "4")]
    pub fields: Vec<FieldSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FieldSchema {
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bool, tag = "3")]
    pub is_primary_key: bool,
    #[prost(enumeration = "DataType", tag = "5")]
    pub data_type: i32,
    #[prost(message, repeated, tag = "6")]
    pub type_params: Vec<KeyValue>,
    #[prost(bool, tag = "8")]
    pub auto_id: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct FieldData {
    #[prost(enumeration = "DataType", tag = "1")]
    pub data_type: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(oneof = "Column", tags = "3, 4")]
    pub column: Option<Column>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Column {
    #[prost(message, tag = "3")]
    Scalars(Scalars),
    #[prost(message, tag = "4")]
    Vectors(Vectors),
}

#[derive(Clone, PartialEq, Message)]
pub struct Scalars {
    #[prost(oneof = "Scalar", tags = "3, 6, 9")]
    pub data: Option<Scalar>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Scalar {
    #[prost(message, tag = "3")]
    Longs(Longs),
    #[prost(message, tag = "6")]
    Strings(Strings),
    #[prost(message, tag = "9")]
    Jsons(Jsons),
}

#[derive(Clone, PartialEq, Message)]
pub struct Longs {
    #[prost(int64, repeated, tag = "1")]
    pub data: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Strings {
    #[prost(string, repeated, tag = "1")]
    pub data: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Jsons {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub data: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Vectors {
    #[prost(int64, tag = "1")]
    pub dimensions: i64,
    #[prost(message, optional, tag = "2")]
    pub floats: Option<Floats>,
}

/// All vectors one after the other.
#[derive(Clone, PartialEq, Message)]
pub struct Floats {
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
}

/// `DescribeCollection`, `DescribeIndex` and `LoadCollection`.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Description {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<CollectionSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateCollection {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    /// A [`CollectionSchema`].
    #[prost(bytes = "vec", tag = "4")]
    pub schema: Vec<u8>,
    #[prost(int32, tag = "5")]
    pub shards: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateIndex {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    #[prost(string, tag = "4")]
    pub field: String,
    #[prost(message, repeated, tag = "5")]
    pub params: Vec<KeyValue>,
    #[prost(string, tag = "6")]
    pub index: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Indexes {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub indexes: Vec<Index>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Index {
    #[prost(message, repeated, tag = "3")]
    pub params: Vec<KeyValue>,
    #[prost(string, tag = "4")]
    pub field: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Upsert {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    #[prost(message, repeated, tag = "5")]
    pub columns: Vec<FieldData>,
    #[prost(uint32, tag = "7")]
    pub rows: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    #[prost(string, tag = "5")]
    pub filter: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Mutation {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Rows.
    #[prost(int64, tag = "8")]
    pub upserted: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Consistency {
    /// Sees every write that was answered.
    Strong = 0,
    /// May be some seconds behind.
    Bounded = 2,
}

#[derive(Clone, PartialEq, Message)]
pub struct Query {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    #[prost(string, tag = "4")]
    pub filter: String,
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    #[prost(enumeration = "Consistency", tag = "11")]
    pub consistency: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Rows {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub columns: Vec<FieldData>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Search {
    #[prost(string, tag = "2")]
    pub database: String,
    #[prost(string, tag = "3")]
    pub collection: String,
    #[prost(string, tag = "5")]
    pub filter: String,
    /// [`Placeholders`].
    #[prost(bytes = "vec", tag = "6")]
    pub placeholders: Vec<u8>,
    #[prost(int32, tag = "7")]
    pub filter_language: i32,
    #[prost(string, repeated, tag = "8")]
    pub output: Vec<String>,
    #[prost(message, repeated, tag = "9")]
    pub params: Vec<KeyValue>,
    #[prost(int64, tag = "12")]
    pub queries: i64,
    #[prost(enumeration = "Consistency", tag = "14")]
    pub consistency: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Placeholders {
    #[prost(message, repeated, tag = "1")]
    pub placeholders: Vec<Placeholder>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Placeholder {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Each a vector as little-endian floats.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub values: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SearchResults {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub found: Option<Found>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Found {
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<FieldData>,
    #[prost(float, repeated, tag = "4")]
    pub scores: Vec<f32>,
    #[prost(message, optional, tag = "5")]
    pub ids: Option<Ids>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ids {
    #[prost(message, optional, tag = "2")]
    pub texts: Option<Strings>,
}
