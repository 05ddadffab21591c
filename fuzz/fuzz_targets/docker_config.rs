//! Any bytes as a docker configuration: reading ends, and an error never quotes what was read.

#![no_main]

use fluvial_source::credentials::DockerConfig;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(config) = DockerConfig::parse(data) {
        for repository in ["docker.io/library/x", "ghcr.io/org/x", "r.example.com:5000/a/b/c", ""] {
            let _ = config.login(repository);
        }
    }
});
