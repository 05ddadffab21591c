//! GitRepository.

use crate::Duration;
use crate::meta::{Artifact, Condition, LocalReference};

words! {
    /// Who answers for the credentials of a Git server.
    GitProvider {
        /// The Secret of `secretRef`.
        Generic = "generic",
        /// AWS CodeCommit with the workload's identity.
        Aws = "aws",
        /// Azure DevOps with the workload's identity.
        Azure = "azure",
        /// A GitHub App.
        Github = "github",
    }
}

words! {
    /// Which objects of Git are verified.
    VerificationMode {
        /// The commit.
        Head = "HEAD",
        /// The commit, in the older spelling.
        HeadLegacy = "head",
        /// The tag.
        Tag = "Tag",
        /// Both.
        TagAndHead = "TagAndHEAD",
    }
}

record! {
    /// What is checked out; commit beats name beats semver beats tag beats branch.
    GitReference {
        optional {
            /// Branch.
            branch: String,
            /// Tag.
            tag: String,
            /// Range of versions; the highest tag in it is taken.
            semver: String,
            /// Full name of a reference.
            name: String,
            /// Commit.
            commit: String,
        }
    }
}

record! {
    /// The artifact of another repository, copied into this one's.
    Include {
        required {
            /// The other GitRepository.
            repository: LocalReference,
        }
        optional {
            /// Folder in it; all if empty.
            from_path: String,
            /// Where it is put; the other's name if empty.
            to_path: String,
        }
    }
}

record! {
    /// How signatures are verified.
    GitVerification {
        required {
            /// Secret with the public keys.
            secret_ref: LocalReference,
        }
        optional {
            /// What is verified.
            mode: VerificationMode,
        }
    }
}

record! {
    /// What is wanted of a GitRepository.
    GitRepositorySpec {
        required {
            /// Where the repository is.
            url: String,
            /// How often it is looked at.
            interval: Duration,
        }
        optional {
            /// How long one fetch may take.
            timeout: Option<Duration>,
            /// What is checked out.
            r#ref: Option<GitReference>,
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Who answers for credentials.
            provider: GitProvider,
            /// Identity for cloud providers.
            service_account_name: Option<String>,
            /// Signature checks.
            verify: Option<GitVerification>,
            /// Secret with the proxy's address.
            proxy_secret_ref: Option<LocalReference>,
            /// Patterns that are left out, in place of the defaults.
            ignore: Option<String>,
            /// Whether it rests.
            suspend: bool,
            /// Whether submodules are fetched too.
            recurse_submodules: bool,
            /// Artifacts copied into this one.
            include: Vec<Include>,
            /// The only folders that are taken.
            sparse_checkout: Vec<String>,
        }
    }
}

impl GitRepositorySpec {
    /// How long one fetch may take: a minute, if nothing else is said.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(60))
    }
}

record! {
    /// What was observed of a GitRepository.
    GitRepositoryStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The stored artifact.
            artifact: Option<Artifact>,
            /// Artifacts that were copied in.
            included_artifacts: Vec<Artifact>,
            /// Patterns that the artifact was made with.
            observed_ignore: Option<String>,
            /// Submodule setting that the artifact was made with.
            observed_recurse_submodules: bool,
            /// Includes that the artifact was made with.
            observed_include: Vec<Include>,
            /// Folders that the artifact was made with.
            observed_sparse_checkout: Vec<String>,
            /// What was verified last.
            source_verification_mode: Option<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// A Git repository as a source of manifests and charts.
    GitRepository {
        spec: GitRepositorySpec, status: GitRepositoryStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "gitrepositories"
    }
}
