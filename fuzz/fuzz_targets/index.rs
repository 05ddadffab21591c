//! Any bytes as the index of a chart repository: reading ends within its memory, and what is written of it is JSON that
//! reads as the same again.

#![no_main]

use fluvial_source::helm::normalise_index;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok((versions, json)) = normalise_index(data) {
        let (again, _) = normalise_index(&json).expect("what was written here can be read");
        assert_eq!(versions, again);
    }
});
