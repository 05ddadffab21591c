//! Options that all commands take: the namespace, the time limit, and the way to the cluster with flux's own flags.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};
use fluvial_ports::Connection;

use crate::command;
use crate::environment::{Environment, Failure, Global};

/// Namespace of commands that name none.
const NAMESPACE: &str = "flux-system";

/// Flags over a kubeconfig, of which help is short: name, value, help.
const WAY: [(&str, &str, &str); 11] = [
    ("cluster", "NAME", "Cluster of the kubeconfig"),
    ("user", "NAME", "User of the kubeconfig"),
    ("server", "ADDRESS", "Address of the API server"),
    (
        "tls-server-name",
        "NAME",
        "Name that the server's certificate is for",
    ),
    (
        "certificate-authority",
        "FILE",
        "Authorities that the server's certificate may be of",
    ),
    ("client-certificate", "FILE", "Certificate to show to the server"),
    ("client-key", "FILE", "Key of that certificate"),
    ("token", "TOKEN", "Bearer token for the server"),
    ("as-uid", "UID", "UID of the user to act as"),
    (
        "as-group",
        "GROUP",
        "Group to act as a member of; repeated for more",
    ),
    (
        "as-user-extra",
        "NAME=VALUE",
        "More of the user to act as; repeated for more",
    ),
];

/// Flags of flux that change nothing here: there is no limit of requests, and nothing is kept on disk.
const IDLE: [(&str, &str); 3] = [
    ("cache-dir", "DIR"),
    ("kube-api-burst", "NUMBER"),
    ("kube-api-qps", "NUMBER"),
];

/// Helm's names of some of them.
const OF_HELM: [(&str, &str); 7] = [
    ("as", "kube-as-user"),
    ("as-group", "kube-as-group"),
    ("certificate-authority", "kube-ca-file"),
    ("context", "kube-context"),
    ("server", "kube-apiserver"),
    ("tls-server-name", "kube-tls-server-name"),
    ("token", "kube-token"),
];

/// Options that all commands take.
pub(crate) fn arguments() -> Vec<Arg> {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        let helm = OF_HELM.iter().find(|(own, _)| *own == name);
        Arg::new(name)
            .long(name)
            .aliases(helm.map(|(_, helm)| *helm))
            .global(true)
            .value_name(value)
            .help(help)
    };
    let switch = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id)
            .long(name)
            .global(true)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let mut all = vec![
        option(
            "namespace",
            "NAMESPACE",
            "Namespace [default: flux-system, or $FLUX_SYSTEM_NAMESPACE]",
        )
        .short('n'),
        option("kubeconfig", "FILE", "Kubeconfig file"),
        option("context", "NAME", "Context of the kubeconfig"),
        option("as", "USER", "User to act as"),
        option("timeout", "DURATION", "How long to wait").default_value("5m0s"),
    ];
    all.extend(WAY.iter().map(|(name, value, help)| {
        let many = matches!(*name, "as-group" | "as-user-extra");
        let action = if many { ArgAction::Append } else { ArgAction::Set };
        option(name, value, help).action(action).hide_short_help(true)
    }));
    all.extend(
        IDLE.iter()
            .map(|(name, value)| option(name, value, "").hide(true)),
    );
    all.extend([
        switch(
            "insecure_skip_tls_verify",
            "insecure-skip-tls-verify",
            "Take any certificate of the server",
        )
        .hide_short_help(true),
        switch(
            "ns-follows-kube-context",
            "ns-follows-kube-context",
            "Take the namespace of the kubeconfig's context [default: $FLUX_NS_FOLLOWS_KUBE_CONTEXT]",
        )
        .hide_short_help(true),
        switch("disable-compression", "disable-compression", "").hide(true),
        switch("verbose", "verbose", "").hide(true),
    ]);
    all.into_iter()
        .map(|argument| argument.help_heading("Options of all commands"))
        .collect()
}

/// Those of them that some words may mention. A definition takes more memory than what it defines, and an error of the
/// command line is told with all of them there.
pub(crate) fn mentioned(words: &[String]) -> Vec<Arg> {
    let options: Vec<&String> = words.iter().filter(|word| word.starts_with('-')).collect();
    if options.is_empty() {
        return vec![];
    }
    let mentions = |argument: &Arg| {
        let mut names = argument.get_all_aliases().unwrap_or_default();
        names.extend(argument.get_long());
        options.iter().any(|word| match word.strip_prefix("--") {
            Some(word) => word.split('=').next().is_some_and(|word| names.contains(&word)),
            None => argument.get_short().is_some_and(|short| word.contains(short)),
        })
    };
    arguments().into_iter().filter(mentions).collect()
}

/// Whether the namespace is the one that a kubeconfig names.
pub(crate) fn follows_context(matches: &ArgMatches, env: &Environment) -> bool {
    let (_, matches) = command::innermost(matches);
    let flag = matches.try_get_one::<bool>("ns-follows-kube-context");
    flag.ok().flatten() == Some(&true)
        || env
            .variables
            .get("FLUX_NS_FOLLOWS_KUBE_CONTEXT")
            .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// What they say, where that takes no look at a cluster.
pub(crate) fn read_here(matches: &ArgMatches, env: &Environment) -> Result<Global, Failure> {
    let connection = connection(matches)?;
    let (_, matches) = command::innermost(matches);
    let namespace = matches.try_get_one::<String>("namespace").ok().flatten().cloned();
    let named = || {
        let variable = env.variables.get("FLUX_SYSTEM_NAMESPACE");
        variable.filter(|value| !value.is_empty()).cloned()
    };
    let timeout = matches.try_get_one::<String>("timeout").ok().flatten();
    let timeout: fluvial_api::Duration = timeout.map_or("5m", String::as_str).parse()?;
    Ok(Global {
        namespace: namespace.or_else(named).unwrap_or_else(|| NAMESPACE.to_owned()),
        connection,
        timeout: timeout.into(),
    })
}

/// What they say.
pub(crate) async fn read(matches: &ArgMatches, env: &Environment) -> Result<Global, Failure> {
    let mut global = read_here(matches, env)?;
    let (_, inner) = command::innermost(matches);
    let named = inner.try_get_one::<String>("namespace").ok().flatten().is_some();
    if !named && follows_context(matches, env) {
        let found = env.outside.namespace(&global.connection).await;
        global.namespace = found.map_err(Failure::new)?;
    }
    Ok(global)
}

/// The way to the cluster.
fn connection(matches: &ArgMatches) -> Result<Connection, Failure> {
    // A global option may stand before or after the verb; clap hands it down to the innermost command.
    let (words, matches) = command::innermost(matches);
    let value = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let path = |name: &str| value(name).map(PathBuf::from);
    let values = |name: &str| -> Vec<String> {
        let all = matches.try_get_many::<String>(name).ok().flatten();
        all.into_iter().flatten().cloned().collect()
    };
    let is_set = |name: &str| matches.try_get_one::<bool>(name).ok().flatten() == Some(&true);
    let mut extra = vec![];
    for pair in values("as-user-extra") {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("--as-user-extra {pair}: expected NAME=VALUE")))?;
        extra.push((name.to_owned(), value.to_owned()));
    }
    // A receiver's token is another one.
    let own_token = words[..] == ["create", "secret", "receiver"];
    Ok(Connection {
        kubeconfig: path("kubeconfig"),
        context: value("context"),
        cluster: value("cluster"),
        entry: value("user"),
        server: value("server"),
        server_name: value("tls-server-name"),
        authorities: path("certificate-authority"),
        insecure: is_set("insecure_skip_tls_verify"),
        certificate: path("client-certificate"),
        key: path("client-key"),
        token: value("token").filter(|_| !own_token),
        user: value("as"),
        groups: values("as-group"),
        uid: value("as-uid"),
        extra,
    })
}
