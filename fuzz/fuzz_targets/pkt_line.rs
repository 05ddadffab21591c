//! Any bytes as lines of Git's protocol: taking them apart ends without a panic.

#![no_main]

use gix::protocol::transport::packetline::decode::{Stream, streaming};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Stream::Complete { line, bytes_consumed }) = streaming(rest) {
        let _ = line.as_text();
        let _ = line.as_error();
        let _ = line.decode_band();
        rest = &rest[bytes_consumed.max(1).min(rest.len())..];
        if rest.is_empty() {
            break;
        }
    }
});
