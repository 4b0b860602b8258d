//! The messages of Weaviate's gRPC API, by the field numbers of its published `.proto` files; what is not needed is left out.

use std::collections::HashMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct BatchObjects {
    #[prost(message, repeated, tag = "1")]
    pub objects: Vec<BatchObject>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchObject {
    #[prost(string, tag = "1")]
    pub uuid: String,
    #[prost(message, optional, tag = "3")]
    pub properties: Option<ObjectProperties>,
    #[prost(string, tag = "4")]
    pub collection: String,
    /// Little-endian 32-bit floats.
    #[prost(bytes = "vec", tag = "6")]
    pub vector: Vec<u8>,
}

/// What is no list stands in `single`.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectProperties {
    #[prost(message, optional, tag = "1")]
    pub single: Option<Struct>,
    #[prost(message, repeated, tag = "4")]
    pub numbers: Vec<NamedNumbers>,
    #[prost(message, repeated, tag = "6")]
    pub texts: Vec<NamedTexts>,
    #[prost(message, repeated, tag = "7")]
    pub booleans: Vec<NamedBooleans>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
pub struct Struct {
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, StructValue>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct StructValue {
    #[prost(oneof = "Single", tags = "2, 3, 4")]
    pub single: Option<Single>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Single {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Boolean(bool),
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedNumbers {
    #[prost(string, tag = "2")]
    pub name: String,
    /// Little-endian 64-bit floats.
    #[prost(bytes = "vec", tag = "3")]
    pub values: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedTexts {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedBooleans {
    #[prost(bool, repeated, tag = "1")]
    pub values: Vec<bool>,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchObjectsReply {
    #[prost(message, repeated, tag = "2")]
    pub errors: Vec<BatchError>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchError {
    #[prost(int32, tag = "1")]
    pub index: i32,
    #[prost(string, tag = "2")]
    pub error: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchDelete {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, optional, tag = "2")]
    pub filters: Option<Filters>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchDeleteReply {
    #[prost(int64, tag = "2")]
    pub failed: i64,
    #[prost(int64, tag = "3")]
    pub matches: i64,
    #[prost(int64, tag = "4")]
    pub successful: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Filters {
    #[prost(enumeration = "Operator", tag = "1")]
    pub operator: i32,
    #[prost(message, repeated, tag = "3")]
    pub filters: Vec<Filters>,
    #[prost(oneof = "Operand", tags = "4, 6, 7, 9, 12")]
    pub operand: Option<Operand>,
    #[prost(message, optional, tag = "20")]
    pub target: Option<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Operator {
    Unspecified = 0,
    Equal = 1,
    GreaterThan = 3,
    GreaterThanEqual = 4,
    LessThan = 5,
    LessThanEqual = 6,
    And = 7,
    Or = 8,
    ContainsAny = 12,
    Not = 15,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Operand {
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(bool, tag = "6")]
    Boolean(bool),
    #[prost(double, tag = "7")]
    Number(f64),
    #[prost(message, tag = "9")]
    Texts(Texts),
    #[prost(message, tag = "12")]
    Numbers(Numbers),
}

#[derive(Clone, PartialEq, Message)]
pub struct Texts {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Numbers {
    #[prost(double, repeated, tag = "1")]
    pub values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Target {
    #[prost(string, tag = "1")]
    pub property: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Search {
    #[prost(string, tag = "1")]
    pub collection: String,
    #[prost(message, optional, tag = "20")]
    pub properties: Option<WantedProperties>,
    #[prost(message, optional, tag = "21")]
    pub metadata: Option<WantedMetadata>,
    #[prost(uint32, tag = "30")]
    pub limit: u32,
    #[prost(message, optional, tag = "40")]
    pub filters: Option<Filters>,
    #[prost(message, optional, tag = "43")]
    pub near: Option<NearVector>,
    /// The form of the answer.
    #[prost(bool, tag = "102")]
    pub uses_127_api: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct WantedProperties {
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct WantedMetadata {
    #[prost(bool, tag = "1")]
    pub uuid: bool,
    #[prost(bool, tag = "2")]
    pub vector: bool,
    #[prost(bool, tag = "5")]
    pub distance: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct NearVector {
    #[prost(bytes = "vec", tag = "4")]
    pub vector: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SearchReply {
    #[prost(message, repeated, tag = "2")]
    pub results: Vec<Found>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Found {
    #[prost(message, optional, tag = "1")]
    pub properties: Option<FoundProperties>,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<FoundMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FoundProperties {
    #[prost(message, optional, tag = "11")]
    pub own: Option<PropertyValues>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PropertyValues {
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, PropertyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PropertyValue {
    #[prost(int64, optional, tag = "8")]
    pub whole: Option<i64>,
    #[prost(string, optional, tag = "13")]
    pub text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FoundMetadata {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(float, tag = "7")]
    pub distance: f32,
    #[prost(bytes = "vec", tag = "19")]
    pub vector: Vec<u8>,
}
