//! Any text as `known_hosts`: no key that is not in it is known.

#![no_main]

use fluvial_source::credentials::{HostKeyCheck, HostKeys};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(hosts) = HostKeys::parse(text) {
        for host in ["example.com", "10.0.0.1", "::1"] {
            let _ = hosts.kinds(host, 2222);
            let verdict = hosts.check(host, 22, "ssh-ed25519", b"a key that cannot be in the file");
            assert_ne!(verdict, HostKeyCheck::Known);
        }
    }
});
