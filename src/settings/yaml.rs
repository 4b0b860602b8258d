//! YAML as plain values, bounded: what an alias repeats counts every time, and brackets are counted before the parser sees them.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_yaml::Value;

/// How many values and keys a configuration may have, counting what aliases repeat. The parser takes 100 repeats for every value
/// that is written, which makes gigabytes of a file that fits on a few screens.
const MAX_VALUES: usize = 20_000;

/// How many brackets may be open at once. The parser's time grows with their square, and it looks at no limit of depth before it has
/// read everything.
const MAX_OPEN: usize = 256;

/// Reads YAML.
///
/// # Errors
/// What is wrong, in the parser's words or ours.
pub fn parse(text: &str) -> Result<Value, String> {
    // Some editors write a byte order mark, which the parser takes for the first of two documents.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if most_open(text) > MAX_OPEN {
        return Err(format!("more than {MAX_OPEN} brackets are open at once"));
    }
    let values = Cell::new(0);
    let counted = Count(&values).deserialize(serde_yaml::Deserializer::from_str(text));
    if counted.is_err() && values.get() > MAX_VALUES {
        return Err(format!("it has more than {MAX_VALUES} values, those that aliases repeat counted each time"));
    }
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Brackets in texts and comments are counted too; there they are closed as a rule.
fn most_open(text: &str) -> usize {
    let depths = text.bytes().scan(0_usize, |open, byte| {
        match byte {
            b'[' | b'{' => *open += 1,
            b']' | b'}' => *open = open.saturating_sub(1),
            _ => {}
        }
        Some(*open)
    });
    depths.max().unwrap_or_default()
}

/// Counts values and keeps none.
#[derive(Clone, Copy)]
struct Count<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MAX_VALUES {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry_seed(self, self)?.is_some() {}
        Ok(())
    }

    /// A value with a tag.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(self)?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aliases_repeat_is_counted_each_time() {
        let list = |count: usize| format!("a: &a [{}x]\n", "x, ".repeat(count - 1));
        assert!(parse(&(list(1_000) + "b: [*a, *a, *a]")).is_ok());
        for bomb in [
            list(1_000) + &format!("b: [{}*a]", "*a, ".repeat(30)),
            "a: &a { k: 1, l: 2, m: 3, n: 4 }\nb:\n".to_owned() + &"  - <<: *a\n".repeat(3_000),
            list(MAX_VALUES),
        ] {
            let error = parse(&bomb).unwrap_err();
            assert!(error.contains("more than 20000 values"), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_document() {
        assert_eq!(parse("\u{feff}a: 1"), parse("a: 1"));
        assert!(parse("a: 1\n---\nb: 2").is_err(), "two documents are");
    }

    #[test]
    fn open_brackets_are_bounded_and_closed_ones_are_not() {
        let error = parse(&format!("a: {}", "[".repeat(100_000))).unwrap_err();
        assert_eq!(error, "more than 256 brackets are open at once");
        assert!(parse(&format!("a: [{}]", "{{}}, ".repeat(1_000))).is_ok());
        assert!(parse(&format!("a: {}{}", "[".repeat(200), "]".repeat(200))).unwrap_err().contains("recursion"));
    }

    #[test]
    fn values_with_tags_are_counted_like_others() {
        assert!(parse("a: !tag { b: !other [1, 2.5, null, true, x, 18446744073709551615] }").is_ok());
        let error = parse(&format!("a: !tag [{}]", "!x 1, ".repeat(MAX_VALUES))).unwrap_err();
        assert!(error.contains("more than 20000 values"), "{error}");
    }
}
