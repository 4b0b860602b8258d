//! What a piece of work panicked with.

use std::any::Any;

/// As `catch_unwind` gives it.
pub type Panic = Box<dyn Any + Send>;

/// What a panic said.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
