use super::*;
use fluvial_ports::{Access, TokenService};

fn listed(keys: &[&str]) -> Vec<Listed> {
    let object = |key: &&str| Listed {
        key: (*key).to_owned(),
        etag: format!("e-{key}"),
        size: 1,
    };
    keys.iter().map(object).collect()
}

fn keys(index: &BTreeMap<String, Listed>) -> Vec<&str> {
    index.keys().map(String::as_str).collect()
}

#[test]
fn a_revision_is_the_digest_of_sorted_keys_and_etags() {
    let none = BucketRequest::default();
    let found = index(&listed(&["b", "a/c"]), None, &none).unwrap();
    let expected = fluvial_tree::Digest::of(b"a/c e-a/c\nb e-b\n");
    assert_eq!(revision(&found), format!("sha256:{}", expected.to_hex()));
    let empty = fluvial_tree::Digest::of(b"");
    assert_eq!(revision(&BTreeMap::new()), format!("sha256:{}", empty.to_hex()));
}

#[test]
fn markers_of_folders_and_excluded_keys_do_not_count() {
    let request = BucketRequest {
        ignore: Some("*.md\n!keep.md\n".to_owned()),
        ..BucketRequest::default()
    };
    let rules = b"docs/\n".to_vec();
    let all = listed(&[
        "a/",
        "a/x.yaml",
        "a.md",
        "keep.md",
        "docs/x",
        ".sourceignore",
        "logo.png",
    ]);
    let found = index(&all, Some(&rules), &request).unwrap();
    // Images count: buckets have no default rules.
    assert_eq!(keys(&found), ["a/x.yaml", "keep.md", "logo.png"]);
}

#[test]
fn keys_that_cannot_be_files_are_refused_unless_excluded() {
    for (all, word) in [
        (vec!["../x"], "elsewhere"),
        (vec!["a/../../x"], "elsewhere"),
        (vec!["/etc/passwd"], "elsewhere"),
        (vec!["a/./b"], "elsewhere"),
        (vec!["a", "a/b"], "below 'a'"),
        (vec!["a/b", "a//b"], "same path"),
        (vec![".git/config"], "Git"),
        (vec!["x/.GIT/hooks/post-checkout"], "Git"),
    ] {
        let error = index(&listed(&all), None, &BucketRequest::default()).unwrap_err();
        assert!(error.message.contains(word), "{all:?}: {error}");
        assert_eq!(error.reason, reason::BUCKET_OPERATION_FAILED);
    }
    let request = BucketRequest {
        ignore: Some("a/b\n".to_owned()),
        ..BucketRequest::default()
    };
    assert_eq!(
        keys(&index(&listed(&["a", "a/b"]), None, &request).unwrap()),
        ["a"]
    );
}

#[test]
fn endpoints_are_hosts_and_urls_for_azure_only() {
    let of = |text: &str, provider, insecure| {
        endpoint(&BucketRequest {
            endpoint: text.to_owned(),
            access: Access {
                provider,
                insecure,
                ..Access::default()
            },
            ..BucketRequest::default()
        })
    };
    assert_eq!(
        of("minio:9000", Provider::Generic, true).unwrap().as_str(),
        "http://minio:9000/"
    );
    assert_eq!(
        of("s3.amazonaws.com", Provider::Aws, false).unwrap().as_str(),
        "https://s3.amazonaws.com/"
    );
    let azure = "https://acme.blob.core.windows.net";
    assert!(of(azure, Provider::Azure, false).is_ok());
    for wrong in [azure, "", "a/b", "user@host", "ho st"] {
        let error = of(wrong, Provider::Generic, false).unwrap_err();
        assert_eq!(
            (error.reason, error.class),
            (reason::URL_INVALID, crate::Class::Stalled)
        );
    }
}

#[test]
fn token_services_fit_their_provider() {
    let of = |provider, sts: &str, endpoint: &str, secret: bool| {
        login::validate(&BucketRequest {
            sts: Some(TokenService {
                provider: sts.to_owned(),
                endpoint: endpoint.to_owned(),
                credentials: secret.then(BTreeMap::new),
                ..TokenService::default()
            }),
            access: Access {
                provider,
                ..Access::default()
            },
            ..BucketRequest::default()
        })
    };
    let url = "https://sts.example.com";
    assert!(of(Provider::Aws, "aws", url, false).is_ok());
    assert!(of(Provider::Generic, "ldap", url, true).is_ok());
    for (provider, sts, secret) in [
        (Provider::Aws, "ldap", false),
        (Provider::Aws, "aws", true),
        (Provider::Generic, "aws", false),
        (Provider::Gcp, "aws", false),
        (Provider::Azure, "ldap", false),
    ] {
        let error = of(provider, sts, url, secret).unwrap_err();
        assert_eq!(error.reason, reason::INVALID_STS_CONFIGURATION, "{error}");
    }
    let error = of(Provider::Generic, "ldap", "minio:9000", true).unwrap_err();
    assert_eq!(error.reason, reason::URL_INVALID);
}
