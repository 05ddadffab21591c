//! Splitting a stream into documents without reading them, as Kubernetes' client library does.

use crate::error::Error;
use crate::node::{FileId, Pos};

/// The documents of a stream as apimachinery's `YAMLReader` finds them. A separator is a line that
/// begins with `---`; one that begins a document stays in it.
///
/// # Errors
/// Something else than a comment follows `---` in its line.
pub fn split_documents(text: &str) -> Result<Vec<String>, Error> {
    // Most files are one document.
    if !text.starts_with("---") && !text.contains("\n---") && !text.contains('\r') {
        let mut document = text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            document.push('\n');
        }
        return Ok(Vec::from_iter((!text.is_empty()).then_some(document)));
    }
    let mut documents = Vec::new();
    let mut document = String::new();
    for (line_number, line) in (1..).zip(text.split_inclusive('\n')) {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                return Err(Error::new(
                    Pos {
                        file: FileId::NONE,
                        line: line_number,
                        column: 1,
                    },
                    format!("invalid YAML document separator: {rest}"),
                ));
            }
            if !document.is_empty() {
                documents.push(std::mem::take(&mut document));
                continue;
            }
        }
        document.push_str(line);
        document.push('\n');
    }
    if !document.is_empty() {
        documents.push(document);
    }
    Ok(documents)
}
