//! Where the fields of a JSON text are: what strict decoding complains about is said in the order of the text.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The places of fields by their paths, such as `spec.ports[0].name`.
#[derive(Debug, Default)]
pub struct Places {
    first: FxHashMap<String, usize>,
    again: FxHashMap<String, usize>,
    count: usize,
}

impl Places {
    /// Of a text that is JSON.
    #[must_use]
    pub fn of(text: &[u8]) -> Places {
        let mut places = Places::default();
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        // It was read before; if it were none, the order would be any.
        let _read = Walk {
            path: "",
            places: &mut places,
        }
        .deserialize(&mut deserializer);
        places
    }

    /// Where a field is.
    #[must_use]
    pub fn first(&self, path: &str) -> usize {
        self.first.get(path).copied().unwrap_or(usize::MAX)
    }

    /// Where a field is for the second time.
    #[must_use]
    pub fn again(&self, path: &str) -> usize {
        self.again.get(path).copied().unwrap_or(usize::MAX)
    }
}

struct Walk<'a> {
    path: &'a str,
    places: &'a mut Places,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
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

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        for index in 0.. {
            let path = format!("{}[{index}]", self.path);
            let walk = Walk {
                path: &path,
                places: &mut *self.places,
            };
            if access.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut own = FxHashSet::default();
        while let Some(key) = access.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            self.places.count += 1;
            let here = self.places.count;
            self.places.first.entry(path.clone()).or_insert(here);
            if !own.insert(key) {
                self.places.again.entry(path.clone()).or_insert(here);
            }
            if path.len() > super::LONGEST_PATH {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            access.next_value_seed(Walk {
                path: &path,
                places: &mut *self.places,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_order_of_the_text() {
        let places = Places::of(br#"{"b":{"x":1,"x":2},"a":[{"c":1}],"b":3}"#);
        let order = [
            places.first("b"),
            places.first("b.x"),
            places.again("b.x"),
            places.first("a"),
            places.first("a[0].c"),
            places.again("b"),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(places.again("a"), usize::MAX);
    }
}
