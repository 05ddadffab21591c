//! Any text as an encrypted file of any format, written in any other: neither reading nor decrypting panics. The key is
//! all zeros, and fields whose names say that they are not encrypted get as far as the writers.

#![no_main]

use fluvial_secrets::{DataKey, File, Format, Integrity};

const FORMATS: [Format; 5] = [
    Format::Yaml,
    Format::Json,
    Format::Dotenv,
    Format::Ini,
    Format::Binary,
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for input in FORMATS {
        for output in FORMATS {
            let Ok(file) = File::read(data, input) else { break };
            let key = DataKey::new(vec![0; 32].into());
            let _ = file.decrypt(&key, output, Integrity::Values);
        }
    }
});
