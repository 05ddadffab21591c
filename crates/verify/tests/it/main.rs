//! Signatures made here with keys and certificates made here: good ones count, forged ones do not.

#![cfg(test)]

mod certificates;
mod keys;
mod notation;
mod support;

#[test]
fn every_test_file_is_part_of_this_binary() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in folder.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".rs").unwrap();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name}");
    }
}
