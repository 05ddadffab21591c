//! Any two documents, divided by a line with `====`: merging one into the other does not panic.

#![no_main]

use fluvial_kustomize::kyaml::{comments, format, merge2, merge3};
use fluvial_yaml::{Node, ReadOptions, parse_first};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (patch, dest) = text.split_once("\n====\n").unwrap_or((text, text));
    let read = |text: &str| -> Option<Node> {
        let mut node = parse_first(text, &ReadOptions::default()).ok()??;
        node.deanchor().ok()?;
        Some(node)
    };
    let (Some(patch), Some(mut dest)) = (read(patch), read(dest)) else {
        return;
    };
    for infer in [false, true] {
        let options = merge2::MergeOptions {
            infer,
            ..merge2::MergeOptions::default()
        };
        let _ = merge2::merge(&patch, Some(dest.clone()), None, &options);
        let _ = merge3::merge(dest.clone(), &patch, &dest, infer);
    }
    let _ = merge2::apply_patch(&patch, dest.clone(), false, false, None);
    let _ = comments::copy_comments(&patch, &mut dest);
    let _ = comments::sync_order(&patch, &mut dest);
    let _ = format::format(&mut dest, true);
});
