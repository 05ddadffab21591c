//! The text of an object: as it was written while that is news, and packed once it is not. Objects of a collection are
//! much alike (their managed fields above all), so that each is packed by what it has in common with some before it; a
//! text is unpacked in a microsecond, and nothing else has to be.

use std::sync::Arc;

use bytes::Bytes;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};

/// What objects are packed by: enough for two or three of most kinds.
const LIKENESS: usize = 4 << 10;
/// Objects that are packed by the same others, before newer ones are taken.
const SAME: usize = 512;
/// Smaller texts stay as they are.
const SMALL: usize = 256;

/// The JSON text of an object.
#[derive(Debug)]
pub struct Text(Form);

#[derive(Debug)]
enum Form {
    Plain(Bytes),
    Packed {
        data: Box<[u8]>,
        size: usize,
        like: Arc<[u8]>,
    },
}

impl Text {
    /// The text itself.
    #[must_use]
    pub fn json(&self) -> Bytes {
        match &self.0 {
            Form::Plain(text) => text.clone(),
            Form::Packed { data, size, like } => decompress_with_dict(data, *size, like)
                .expect("it was packed by this process")
                .into(),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0 {
            Form::Plain(text) => text.len(),
            Form::Packed { size, .. } => *size,
        }
    }
}

impl From<Bytes> for Text {
    fn from(text: Bytes) -> Self {
        Text(Form::Plain(text))
    }
}

impl From<Vec<u8>> for Text {
    fn from(text: Vec<u8>) -> Self {
        Bytes::from(text).into()
    }
}

/// Packs the texts of one collection.
#[derive(Debug, Default)]
pub(super) struct Packer {
    like: Arc<[u8]>,
    next: Vec<u8>,
    packed: usize,
}

impl Packer {
    /// The text packed, where that saves something.
    pub(super) fn pack(&mut self, text: &Text) -> Option<Text> {
        let Form::Plain(plain) = &text.0 else {
            return None;
        };
        if plain.len() < SMALL {
            return None;
        }
        let like = self.like.clone();
        let data = compress_with_dict(plain, &like);
        self.learn(plain);
        (data.len() < plain.len() / 4 * 3).then(|| {
            Text(Form::Packed {
                data: data.into_boxed_slice(),
                size: plain.len(),
                like,
            })
        })
    }

    /// Takes the newest texts for what the next ones are like, now and then.
    fn learn(&mut self, text: &[u8]) {
        self.packed += 1;
        if self.packed > SAME {
            self.packed = 0;
            self.next.clear();
        }
        let room = LIKENESS.saturating_sub(self.next.len());
        if room > 0 {
            self.next.extend_from_slice(&text[..room.min(text.len())]);
            if self.next.len() == LIKENESS {
                self.like = self.next.as_slice().into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Expect, Store};
    use super::*;

    fn text(number: usize) -> Bytes {
        let fields = "f:metadata f:annotations f:labels f:spec f:template ".repeat(20);
        format!(
            r#"{{"metadata":{{"name":"object-{number}"}},"fields":"{fields}","data":{}}}"#,
            number * 7_919
        )
        .into()
    }

    #[test]
    fn a_packed_text_is_the_text() {
        let mut packer = Packer::default();
        let mut size = 0;
        for number in 0..3 * SAME {
            let plain = text(number);
            let packed = packer.pack(&plain.clone().into()).unwrap();
            assert_eq!((packed.json(), packed.size()), (plain, text(number).len()));
            let Form::Packed { data, .. } = &packed.0 else {
                panic!("not packed");
            };
            size += data.len();
            assert!(packer.pack(&packed).is_none(), "once is enough");
        }
        assert!(size < 3 * SAME * 100, "{size} bytes, of some 1,100 each");
    }

    #[test]
    fn what_packing_does_not_make_smaller_stays() {
        let mut packer = Packer::default();
        assert!(packer.pack(&Bytes::from_static(b"{}").into()).is_none());
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(4_000)
        .collect();
        assert!(packer.pack(&Bytes::from(noise).into()).is_none());
    }

    #[test]
    fn objects_that_were_left_alone_are_packed_and_read_as_they_were() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        let object = |number: u64, more: &str| {
            json!({"metadata": {"name": format!("a{number}"), "resourceVersion": (number + 2).to_string()},
                "spec": "like the others ".repeat(60) + more})
        };
        for number in 0..1_000 {
            let key = format!("n/a{number}");
            store
                .put(&things, &key, Expect::Absent, &mut object(number, ""))
                .unwrap();
        }
        let now = things.snapshot(&store, "", None, None).unwrap().objects;
        let packed = now
            .iter()
            .filter(|stored| matches!(stored.text.0, Form::Packed { .. }));
        assert!(packed.count() > 500);
        for stored in &now {
            let number = stored.name()[1..].parse().unwrap();
            assert_eq!(stored.value(), object(number, ""));
        }
        // They are written, told and removed like others.
        let first = things.get("n/a0").unwrap();
        let expect = Expect::Version(first.version);
        let second = store.put(&things, "n/a0", expect, &mut object(0, "!")).unwrap();
        let event = things.events_after(second.version - 1, 1).unwrap().remove(0);
        assert_eq!(event.previous.as_ref().unwrap().value(), first.value());
        store
            .remove(
                &things,
                "n/a1",
                things.get("n/a1").unwrap().version,
                &mut object(1, ""),
            )
            .unwrap();
        let past = things
            .snapshot(&store, "n/a1", None, Some(second.version - 1))
            .unwrap();
        assert!(
            past.objects
                .iter()
                .any(|stored| &*stored.key == "n/a1" && stored.value() == object(1, ""))
        );
    }
}
