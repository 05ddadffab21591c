//! Large files in and out on several threads at once.

use fluvial_parallel::{WORTH, each};
use fluvial_yaml::{Node, ReadOptions};

use crate::error::Result;

/// Parts of a text for each thread: documents differ in size, and none should wait for another.
const PARTS: usize = 8;

/// Reads the documents of a text.
///
/// # Errors
/// As [`fluvial_yaml::parse_documents`].
pub(crate) fn read(
    text: &str,
    options: &ReadOptions,
    threads: usize,
) -> std::result::Result<Vec<Node>, fluvial_yaml::Error> {
    let threads = threads.min(text.len() / WORTH);
    if threads > 1 && text.len() <= options.limits.bytes {
        let parts = fluvial_yaml::parts(text, threads * PARTS);
        let read = each(&parts, threads, |part| {
            fluvial_yaml::parse_part(part, options).ok()
        });
        if let Some(parts) = read.into_iter().collect::<Option<Vec<Vec<Node>>>>() {
            return Ok(parts.into_iter().flatten().collect());
        }
    }
    fluvial_yaml::parse_documents(text, options)
}

/// Writes items as one stream of documents.
///
/// # Errors
/// That of the first item that cannot be written.
pub(crate) fn write<T: Sync>(
    items: &[T],
    threads: usize,
    document: impl Fn(&T) -> Result<String> + Sync,
) -> Result<String> {
    let mut out = String::new();
    let mut rest = items;
    // What is small is done before another thread would have begun.
    while let Some((item, others)) = rest.split_first()
        && (threads < 2 || out.len() < WORTH / 4 || others.is_empty())
    {
        append(&mut out, &document(item)?);
        rest = others;
    }
    if !rest.is_empty() {
        let documents: Vec<String> = each(rest, threads, document).into_iter().collect::<Result<_>>()?;
        out.reserve(
            documents
                .iter()
                .map(|document| document.len() + MARKER.len())
                .sum(),
        );
        documents.iter().for_each(|document| append(&mut out, document));
    }
    Ok(out)
}

/// What stands between documents.
const MARKER: &str = "---\n";

fn append(out: &mut String, document: &str) {
    if !out.is_empty() {
        out.push_str(MARKER);
    }
    out.push_str(document);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn documents_are_in_order_whoever_wrote_them() {
        let items: Vec<usize> = (0..300).collect();
        let document = |item: &usize| Ok(format!("{item}: {}\n", "x".repeat(1_000)));
        let alone = write(&items, 1, document).unwrap();
        for threads in 2..5 {
            assert!(write(&items, threads, document).unwrap() == alone);
        }
    }

    #[test]
    fn the_first_error_counts() {
        let items: Vec<usize> = (0..300).collect();
        let document = |item: &usize| match item {
            200.. => Err(Error::new(format!("no {item}"))),
            _ => Ok("x".repeat(1_000)),
        };
        let error = write(&items, 3, document).unwrap_err();
        assert_eq!(error.to_string(), "no 200");
    }

    #[test]
    fn a_long_text_reads_the_same_by_several_threads_and_so_do_its_errors() {
        let options = ReadOptions::default();
        let mut text = "a: {b: [1, 2]}\nc: |\n  text\n---\n".repeat(10_000);
        let alone = read(&text, &options, 1).unwrap();
        assert!(read(&text, &options, 4).unwrap() == alone);
        text.push_str("d: \"open\n---\n");
        let error = read(&text, &options, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            read(&text, &options, 1).unwrap_err().to_string()
        );
        assert_eq!(error.pos.line, 40_002);
    }
}
