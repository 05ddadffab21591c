//! Any bytes as an artifact: unpacking ends within its limits, and what comes out packs to the same tree again.

#![no_main]

use fluvial_source::artifact::{pack, unpack};
use fluvial_source::limits::Limits;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        file: 1 << 20,
        total: 4 << 20,
        entries: 1000,
        depth: 32,
        download: 1 << 20,
    };
    if let Ok(tree) = unpack(data, limits) {
        let again = unpack(&pack(&tree).data[..], limits).expect("what was packed here can be unpacked");
        assert_eq!(again.digest(), tree.digest());
    }
});
