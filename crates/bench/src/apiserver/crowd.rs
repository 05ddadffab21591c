//! Many watchers in one thread, as cheap as can be: what is measured is to be the server's time, and both share the
//! processors. An event is known by its last bytes, and nothing is decoded.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::client::Place;
use crate::Failure;

/// Longest that a watch may take to begin, or an event to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

/// Open watches.
pub(super) struct Crowd {
    poll: Poll,
    links: Vec<Link>,
    scratch: Vec<u8>,
}

impl Crowd {
    /// Opens watches of a path, so many on each connection: HTTP/1.1 for one, HTTP/2 for more. What is there already has
    /// come to each of them.
    pub(super) fn open(place: &Place, path: &str, watchers: usize, streams: usize) -> Result<Crowd, Failure> {
        let mut crowd = Crowd {
            poll: Poll::new().map_err(text)?,
            links: vec![],
            scratch: vec![0; 64 << 10],
        };
        let mut left = watchers;
        while left > 0 {
            let number = streams.min(left);
            let mut link = Link::open(place, path, number, streams > 1)?;
            while link.seen < number {
                link.turn(&mut crowd.scratch)?;
            }
            link.seen = 0;
            link.socket.set_nonblocking(true).map_err(text)?;
            let mut source = mio::net::TcpStream::from_std(link.socket.try_clone().map_err(text)?);
            let registry = crowd.poll.registry();
            registry
                .register(&mut source, Token(crowd.links.len()), Interest::READABLE)
                .map_err(text)?;
            link.source = Some(source);
            crowd.links.push(link);
            left -= number;
        }
        Ok(crowd)
    }

    /// Waits until one more event has come to each.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let mut missing = self.links.len();
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + PATIENCE;
        while missing > 0 {
            self.poll.poll(&mut events, Some(PATIENCE)).map_err(text)?;
            if Instant::now() > end {
                return Err(format!("{missing} connections have not got an event"));
            }
            for event in &events {
                let link = &mut self.links[event.token().0];
                let before = link.seen;
                link.turn(&mut self.scratch)?;
                if before < link.streams && link.seen >= link.streams {
                    missing -= 1;
                }
            }
        }
        for link in &mut self.links {
            link.seen -= link.streams;
        }
        Ok(())
    }
}

/// A connection.
struct Link {
    socket: TcpStream,
    /// The same, as the poll knows it.
    source: Option<mio::net::TcpStream>,
    tls: ClientConnection,
    streams: usize,
    /// Events that have come.
    seen: usize,
    reader: Reader,
}

impl Link {
    fn open(place: &Place, path: &str, streams: usize, many: bool) -> Result<Link, Failure> {
        let socket = TcpStream::connect(place.address()).map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let name = ServerName::try_from("localhost").map_err(text)?;
        let protocol: &[u8] = if many { b"h2" } else { b"http/1.1" };
        let tls = ClientConnection::new(place.tls(protocol).into(), name).map_err(text)?;
        let (request, reader) = if many {
            (frames(place, path, streams), Reader::Frames(vec![]))
        } else {
            (plain(place, path), Reader::Chunks([0; 4]))
        };
        let mut link = Link {
            socket,
            source: None,
            tls,
            streams,
            seen: 0,
            reader,
        };
        link.tls.writer().write_all(&request).map_err(text)?;
        while link.tls.is_handshaking() || link.tls.wants_write() {
            link.tls.complete_io(&mut link.socket).map_err(text)?;
        }
        Ok(link)
    }

    /// Reads what has come, or waits for something where reading waits.
    fn turn(&mut self, scratch: &mut [u8]) -> Result<(), Failure> {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err("a watch ended".into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.source.is_some() => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
            self.tls.process_new_packets().map_err(text)?;
            loop {
                match self.tls.reader().read(scratch) {
                    Ok(0) => return Err("a watch ended".into()),
                    Ok(read) => self.seen += self.reader.events(&scratch[..read])?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            // Where reading waits, the caller says whether to go on.
            if self.source.is_none() {
                return Ok(());
            }
        }
    }
}

/// Finds the ends of events.
enum Reader {
    /// The last bytes of a chunked answer.
    Chunks([u8; 4]),
    /// What has come of a frame that is not whole yet.
    Frames(Vec<u8>),
}

impl Reader {
    fn events(&mut self, data: &[u8]) -> Result<usize, Failure> {
        match self {
            Reader::Chunks(last) => {
                for byte in &data[data.len().saturating_sub(4)..] {
                    last.rotate_left(1);
                    last[3] = *byte;
                }
                if data.starts_with(b"HTTP/1.1 ") && !data.starts_with(b"HTTP/1.1 200") {
                    return Err(String::from_utf8_lossy(data).into_owned());
                }
                Ok(usize::from(last == b"}\n\r\n"))
            }
            Reader::Frames(held) => {
                held.extend_from_slice(data);
                let (mut seen, mut at) = (0, 0);
                while let Some(frame) = whole(&held[at..]) {
                    // Of type 0 (data), at the end of a line.
                    let ended = frame[3] == 0 && frame.ends_with(b"}\n");
                    // Failures say at their beginning what they are; more is not looked at, which would take the server's time.
                    let begin = &frame[9..frame.len().min(9 + 64)];
                    if ended && begin.windows(8).any(|part| part == b"\"Status\"") {
                        return Err(String::from_utf8_lossy(&frame[9..]).into_owned());
                    }
                    seen += usize::from(ended);
                    at += frame.len();
                }
                held.drain(..at);
                Ok(seen)
            }
        }
    }
}

/// The first frame, if it is there.
fn whole(data: &[u8]) -> Option<&[u8]> {
    let head = data.get(..9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    data.get(..9 + length)
}

fn fields(place: &Place) -> [(&'static str, String); 3] {
    [
        ("authorization", format!("Bearer {}", place.token())),
        ("user-agent", "fluvial-bench".to_owned()),
        ("accept", "application/json".to_owned()),
    ]
}

/// A request of HTTP/1.1.
fn plain(place: &Place, path: &str) -> Vec<u8> {
    let mut out = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", place.address());
    for (name, value) in fields(place) {
        out.extend([name, ": ", &value, "\r\n"]);
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// The beginning of an HTTP/2 connection and requests on so many streams, with the windows that client-go has.
fn frames(place: &Place, path: &str, streams: usize) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // No push, and 4 MiB for each stream.
    let settings = [[0, 2, 0, 0, 0, 0], [0, 4, 0, 0x40, 0, 0]].concat();
    frame(&mut out, 4, 0, 0, &settings);
    frame(&mut out, 8, 0, 0, &(1_u32 << 30).to_be_bytes());
    // Theirs are agreed to before they are known; nothing of them is needed.
    frame(&mut out, 4, 1, 0, &[]);
    let mut block = vec![];
    let own = [
        (":method", "GET".to_owned()),
        (":scheme", "https".to_owned()),
        (":authority", place.address().to_owned()),
        (":path", path.to_owned()),
    ];
    for (name, value) in own.into_iter().chain(fields(place)) {
        // A literal that is not remembered.
        block.push(0);
        string(&mut block, name);
        string(&mut block, &value);
    }
    for number in 0..streams {
        // The end of the headers and of the stream.
        frame(&mut out, 1, 5, number * 2 + 1, &block);
    }
    out
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: usize, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend_from_slice(&(stream as u32).to_be_bytes());
    out.extend_from_slice(payload);
}

/// A string of HPACK as it is.
fn string(out: &mut Vec<u8>, text: &str) {
    let mut left = text.len();
    if left < 127 {
        out.push(left as u8);
    } else {
        out.push(127);
        left -= 127;
        while left >= 128 {
            out.push(left as u8 | 128);
            left >>= 7;
        }
        out.push(left as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_events_are_found_wherever_an_answer_is_cut() {
        let mut out = vec![];
        frame(&mut out, 1, 4, 1, &[0x88]);
        frame(&mut out, 0, 0, 1, b"{\"type\":\"ADDED\",");
        frame(&mut out, 0, 0, 1, b"\"object\":{}}\n");
        frame(&mut out, 0, 0, 3, b"{}\n");
        for cut in 0..out.len() {
            let mut reader = Reader::Frames(vec![]);
            let (a, b) = out.split_at(cut);
            assert_eq!(reader.events(a).unwrap() + reader.events(b).unwrap(), 2);
        }
        let mut failed = vec![];
        let status = br#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1"}}"#;
        frame(&mut failed, 0, 0, 1, &[status.as_slice(), b"\n"].concat());
        assert!(Reader::Frames(vec![]).events(&failed).is_err());
        let mut reader = Reader::Chunks([0; 4]);
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        assert_eq!(reader.events(head).unwrap(), 0);
        assert_eq!(reader.events(b"3\r\n{}").unwrap(), 0);
        assert_eq!(reader.events(b"\n\r").unwrap(), 0);
        assert_eq!(reader.events(b"\n").unwrap(), 1);
        assert!(reader.events(b"HTTP/1.1 403 Forbidden\r\n").is_err());
    }

    #[test]
    fn long_strings_have_lengths_of_several_bytes() {
        let mut out = vec![];
        string(&mut out, &"a".repeat(300));
        assert_eq!(&out[..3], &[127, 173, 1]);
    }
}
