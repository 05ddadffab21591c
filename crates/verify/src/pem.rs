//! PEM: labelled base64 between dashes.

use crate::{Refusal, base64, refuse};

/// Most blocks that are read of one text.
const MOST: usize = 100;

/// A block.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) data: Vec<u8>,
}

/// All blocks of a text; what is between them is left out, as in files with remarks.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block>, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| Refusal::new("it is no text; PEM is wanted"))?;
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, after)) = after.split_once("-----") else {
            return refuse("a PEM block's first line has no end");
        };
        let Some((body, after)) = after.split_once(&format!("-----END {label}-----")) else {
            return refuse(format!("the PEM block '{label}' has no end"));
        };
        if all.len() == MOST {
            return refuse(format!("it has more than {MOST} PEM blocks"));
        }
        all.push(Block {
            label: label.to_owned(),
            data: base64(body).map_err(|error| error.of(format!("PEM block '{label}'")))?,
        });
        rest = after;
    }
    Ok(all)
}

/// The certificates of a text.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let certificates = blocks(text)?
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE");
    Ok(certificates.map(|block| block.data).collect())
}
