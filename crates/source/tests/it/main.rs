//! Against real repositories made with the git program, and a real smart-HTTP server of theirs.

#[cfg(test)]
mod artifact;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod local;
#[cfg(test)]
mod oci;
#[cfg(test)]
mod ssh;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod watch;
