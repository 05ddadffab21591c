//! A stand-in for a Git server behind ssh: it lets in whoever has the right key, lists one branch, and plays a trick on those
//! who fetch it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg};
use tokio::net::TcpListener;

use crate::support::Trick;

/// Keys that a user's Secret has, and that a server has.
pub(crate) struct Keys {
    host: PrivateKey,
    user: PrivateKey,
    /// The key that is let in, as a Secret has it.
    pub(crate) identity: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let text = || rcgen::KeyPair::generate().unwrap().serialize_pem();
        let key = |text: &str| russh::keys::decode_secret_key(text, None).unwrap();
        let identity = text();
        Keys {
            host: key(&text()),
            user: key(&identity),
            identity,
        }
    }

    /// The server's own key, as known at these ports.
    pub(crate) fn known_hosts(&self, ports: &[u16]) -> String {
        let public = self.host.public_key().to_openssh().unwrap();
        let line = |port: &u16| format!("[127.0.0.1]:{port} {public}\n");
        ports.iter().map(line).collect()
    }

    /// Serves on a free port; whoever fetches meets this trick, and silence if there is none.
    pub(crate) async fn serve(&self, trick: Option<Trick>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(Config {
            keys: vec![self.host.clone()],
            auth_rejection_time: Duration::ZERO,
            ..Config::default()
        });
        let user = self.user.public_key().clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, user) = (Arc::clone(&config), user.clone());
                let connection = Connection {
                    user,
                    trick,
                    channels: BTreeMap::new(),
                };
                tokio::spawn(async move {
                    if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                        // The client may have gone.
                        let _ = session.await;
                    }
                });
            }
        });
        port
    }
}

struct Connection {
    user: PublicKey,
    trick: Option<Trick>,
    channels: BTreeMap<ChannelId, Channel<Msg>>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let known = self.user.key_data() == key.public_key.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        let channel = self.channels.remove(&id).unwrap();
        tokio::spawn(speak(channel, self.trick));
        Ok(())
    }
}

fn line(text: &str) -> String {
    format!("{:04x}{text}\n", text.len() + 5)
}

/// Speaks Git's second protocol until the trick is over.
async fn speak(channel: Channel<Msg>, trick: Option<Trick>) {
    let (mut read, write) = channel.split();
    let hello = [
        "version 2",
        "agent=stand-in",
        "ls-refs",
        "fetch=shallow",
        "object-format=sha1",
    ];
    let hello: String = hello.iter().map(|text| line(text)).collect();
    let id = "1".repeat(40);
    let branch =
        line(&format!("{id} HEAD symref-target:refs/heads/main")) + &line(&format!("{id} refs/heads/main"));
    write.data_bytes(format!("{hello}0000")).await.unwrap();
    let mut command = Vec::new();
    while let Some(message) = read.wait().await {
        let ChannelMsg::Data { data } = message else {
            continue;
        };
        command.extend_from_slice(&data);
        if !command.ends_with(b"0000") {
            continue;
        }
        let command = std::mem::take(&mut command);
        if let Some(answer) = trick.and_then(|trick| trick.answer(&command)) {
            let mut parts = answer.into_body().into_data_stream();
            while let Some(Ok(part)) = parts.next().await {
                if write.data_bytes(part).await.is_err() {
                    return;
                }
            }
            // The client may have had enough.
            let _ = write.close().await;
            return;
        }
        if command.windows(7).any(|part| part == b"ls-refs") {
            write.data_bytes(format!("{branch}0000")).await.unwrap();
        }
    }
}
