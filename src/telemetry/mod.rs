//! What a running Vectide tells about itself.

pub mod logging;
