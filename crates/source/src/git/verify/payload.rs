//! What exactly was signed: an object's bytes without its signature, as Git itself takes them apart.

use gix::hash::Kind;

/// A signature and what it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signed {
    /// The signature's text.
    pub(super) signature: Vec<u8>,
    /// The bytes that were signed.
    pub(super) payload: Vec<u8>,
    /// When the object says that it was made, in seconds since 1970.
    pub(super) time: u64,
    /// The name that a tag object has.
    pub(super) tag: Option<Vec<u8>>,
}

/// Beginnings of signatures at the end of tags.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// The header that holds signatures of commits, and of tags for the other hash.
fn header(hash: Kind) -> &'static [u8] {
    if hash == Kind::Sha1 {
        b"gpgsig"
    } else {
        b"gpgsig-sha256"
    }
}

/// Headers (with their continuation lines), and the rest from the empty line on.
fn parts(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut headers: Vec<&[u8]> = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < data.len() && data[at] != b'\n' {
        let end = data[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(data.len(), |length| at + length + 1);
        if data[at] == b' ' && !headers.is_empty() {
            headers.pop();
        } else {
            start = at;
        }
        headers.push(&data[start..end]);
        at = end;
    }
    (headers, &data[at..])
}

fn name_of(header: &[u8]) -> &[u8] {
    header
        .split(|byte| *byte == b' ' || *byte == b'\n')
        .next()
        .unwrap_or_default()
}

/// A header's value, its lines joined again.
fn value_of(header: &[u8]) -> Vec<u8> {
    let value = header.get(name_of(header).len() + 1..).unwrap_or_default();
    let mut out = Vec::with_capacity(value.len());
    for (index, line) in value.split_inclusive(|byte| *byte == b'\n').enumerate() {
        out.extend_from_slice(if index == 0 { line } else { &line[1..] });
    }
    out
}

/// Seconds of `Name <mail> SECONDS ZONE`.
fn time_of(headers: &[&[u8]], name: &[u8]) -> u64 {
    headers
        .iter()
        .find(|header| name_of(header) == name)
        .and_then(|header| {
            let text = String::from_utf8_lossy(header);
            let (_, rest) = text.rsplit_once('>')?;
            rest.split_ascii_whitespace().next()?.parse().ok()
        })
        .unwrap_or_default()
}

/// A commit's signature, if it has one.
pub(super) fn commit(data: &[u8], hash: Kind) -> Result<Option<Signed>, String> {
    let (headers, rest) = parts(data);
    let mut signatures = headers.iter().filter(|line| name_of(line) == header(hash));
    let Some(signature) = signatures.next() else {
        return Ok(None);
    };
    if signatures.next().is_some() {
        return Err("it has more than one signature".to_owned());
    }
    let payload: Vec<&[u8]> = headers
        .iter()
        .filter(|line| !matches!(name_of(line), b"gpgsig" | b"gpgsig-sha256"))
        .copied()
        .chain([rest])
        .collect();
    Ok(Some(Signed {
        signature: value_of(signature),
        payload: payload.concat(),
        time: time_of(&headers, b"committer"),
        tag: None,
    }))
}

/// A tag's signature, if it has one: it stands at the end of the message.
pub(super) fn tag(data: &[u8], hash: Kind) -> Result<Option<Signed>, String> {
    let mut at = 0;
    let mut found = None;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            found = Some(at);
        }
        at += line.len();
    }
    let (headers, rest) = parts(data);
    let body = data.len() - rest.len();
    let Some(found) = found.filter(|found| *found >= body) else {
        return Ok(None);
    };
    // The other hash's signature is not part of what is signed.
    let other = header(if hash == Kind::Sha1 {
        Kind::Sha256
    } else {
        Kind::Sha1
    });
    let payload: Vec<&[u8]> = headers
        .iter()
        .filter(|line| name_of(line) != other)
        .copied()
        .chain([&data[body..found]])
        .collect();
    let name = headers.iter().find(|line| name_of(line) == b"tag");
    Ok(Some(Signed {
        signature: data[found..].to_vec(),
        payload: payload.concat(),
        time: time_of(&headers, b"tagger"),
        tag: name.map(|line| value_of(line).trim_ascii_end().to_vec()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &[u8] = b"tree 1\nauthor A <a> 1 +0000\ncommitter C <c> 25 +0100\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\nencoding x\n\nmessage\n gpgsig no\n";

    #[test]
    fn a_commit_is_signed_without_its_signature() {
        let signed = commit(COMMIT, Kind::Sha1).unwrap().unwrap();
        assert_eq!(
            signed.signature,
            b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
        );
        assert_eq!(
            signed.payload,
            b"tree 1\nauthor A <a> 1 +0000\ncommitter C <c> 25 +0100\nencoding x\n\nmessage\n gpgsig no\n"
        );
        assert_eq!(signed.time, 25);
        assert_eq!(commit(b"tree 1\n\nx\ngpgsig y\n", Kind::Sha1).unwrap(), None);
        let twice = b"tree 1\ngpgsig a\ngpgsig b\n\nx";
        assert!(commit(twice, Kind::Sha1).is_err());
    }

    #[test]
    fn a_tag_is_signed_up_to_its_last_signature() {
        let data = b"object 1\ntype commit\ntag v1\ntagger T <t> 7 +0000\n\nmessage\n-----BEGIN SSH SIGNATURE-----\nold\n-----BEGIN PGP SIGNATURE-----\nx\n";
        let signed = tag(data, Kind::Sha1).unwrap().unwrap();
        assert_eq!(signed.signature, b"-----BEGIN PGP SIGNATURE-----\nx\n");
        assert!(signed.payload.ends_with(b"old\n"));
        assert_eq!((signed.tag.as_deref(), signed.time), (Some(b"v1".as_slice()), 7));
        assert_eq!(tag(b"object 1\ntag v1\n\nmessage\n", Kind::Sha1).unwrap(), None);
    }
}
