//! What only Redis can do: die, fail over, demand TLS and passwords.

use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use storage::redis::{RedisOptions, SharedState};
use storage::shared::{LimitDemand, Membership, Notice, Notices, SharedError, SharedLimits};
use storage::testing_redis::{Listen, RedisServer, SentinelCluster};

fn options() -> RedisOptions {
    let mut options = RedisOptions::new("test");
    options.timeout = Duration::from_secs(2);
    options
}

fn demand(wanted: u64) -> [LimitDemand; 1] {
    let key = "k".to_owned();
    [LimitDemand { key, period_us: 3_600_000_000, burst: 100, used: 0, wanted }]
}

/// Asks again until there is an answer.
async fn until_answered(state: &SharedState) -> u64 {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        match state.exchange(&demand(1)).await {
            Ok(granted) => return granted[0].granted,
            Err(error) => assert!(Instant::now() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_at_once_and_one_that_comes_back_is_found() {
    let mut server = RedisServer::start().unwrap();
    let state = SharedState::connect(&server.url(), options()).await.unwrap();
    let mut notices = state.subscribe();
    assert_eq!(state.exchange(&demand(1)).await.unwrap()[0].granted, 1);
    server.kill();
    // The first may still have found the connection; after that there is none.
    while state.is_connected() {
        state.exchange(&demand(1)).await.unwrap_err();
    }
    assert_eq!(state.exchange(&demand(1)).await.unwrap_err(), SharedError::Unavailable);
    assert_eq!(state.known_replicas(), 1);

    let _again = RedisServer::start_on(server.port()).unwrap();
    assert_eq!(until_answered(&state).await, 1);
    assert_eq!(notices.recv().await.unwrap(), Notice::Missed);
    state.publish("directory", "").await.unwrap();
    assert!(matches!(notices.recv().await.unwrap(), Notice::Published { .. }));
}

#[tokio::test]
async fn a_server_that_is_not_there_at_start_is_found_later() {
    let mut server = RedisServer::start().unwrap();
    server.kill();
    let state = SharedState::connect(&server.url(), options()).await.unwrap();
    assert_eq!(state.replicas().await.unwrap_err(), SharedError::Unavailable);
    let _again = RedisServer::start_on(server.port()).unwrap();
    assert_eq!(until_answered(&state).await, 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = RedisServer::start().unwrap();
    let mut options = options();
    options.timeout = Duration::from_millis(50);
    let state = SharedState::connect(&server.url(), options).await.unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    // Nothing is answered for so long, by any connection.
    redis::cmd("CLIENT").arg("PAUSE").arg(60_000).arg("ALL").exec(&mut raw).unwrap();
    let mut timeouts = 0;
    while state.is_connected() {
        let error = state.exchange(&demand(1)).await.unwrap_err();
        timeouts += u32::from(error == SharedError::Timeout(Duration::from_millis(50)));
    }
    assert!(timeouts >= 1);
}

#[tokio::test]
async fn a_script_that_was_flushed_is_loaded_again() {
    let server = RedisServer::start().unwrap();
    let state = SharedState::connect(&server.url(), options()).await.unwrap();
    state.exchange(&demand(1)).await.unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut raw).unwrap();
    state.exchange(&demand(1)).await.unwrap();
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_left() {
    let server = RedisServer::start().unwrap();
    let state = SharedState::connect(&server.url(), options()).await.unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut connections = || -> u64 {
        let stats: String = redis::cmd("INFO").arg("stats").query(&mut raw).unwrap();
        let line = stats.lines().find(|line| line.starts_with("total_connections_received"));
        line.unwrap().split_once(':').unwrap().1.parse().unwrap()
    };
    state.exchange(&demand(1)).await.unwrap();
    let before = connections();
    let mut other = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut other).unwrap();
    let error = state.exchange(&demand(1)).await.unwrap_err();
    // Unless the heartbeat was told before.
    let told = [SharedError::Refused("READONLY".to_owned()), SharedError::Unavailable];
    assert!(told.contains(&error), "{error}");
    let limit = Instant::now() + Duration::from_secs(30);
    // `other` was one more; the next is a connection made anew.
    while connections() < before + 2 {
        assert!(Instant::now() < limit, "the connection is kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn keys_have_the_prefix_and_end() {
    let server = RedisServer::start().unwrap();
    let state = SharedState::connect(&server.url(), options()).await.unwrap();
    state.exchange(&demand(1)).await.unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut raw).unwrap();
    keys.sort();
    assert_eq!(keys, ["llmp:{test}:limit:k", "llmp:{test}:members"]);
    let left: u64 = redis::cmd("PTTL").arg(&keys[0]).query(&mut raw).unwrap();
    assert!((7_000_000..=7_200_000).contains(&left), "{left}");
}

#[tokio::test]
async fn an_acl_user_with_the_documented_rights_is_enough_and_a_wrong_password_is_not() {
    let acl = "user default off\nuser proxy on >hunter2@ ~llmp:* &llmp:* +eval +evalsha \
               +script|load +time +get +set +zadd +zscore +zcount +zremrangebyscore +hget +hset \
               +hdel +hgetall +pexpire +publish +subscribe +ping";
    let server = RedisServer::start_with(acl, Listen::Plain).unwrap();
    let url = |password: &str| format!("redis://proxy:{password}@127.0.0.1:{}", server.port());
    let state = SharedState::connect(&url("hunter2%40"), options()).await.unwrap();
    let mut notices = state.subscribe();
    assert_eq!(state.exchange(&demand(1)).await.unwrap()[0].granted, 1);
    assert_eq!(state.replicas().await.unwrap(), 1);
    state.publish("a", "b").await.unwrap();
    assert!(matches!(notices.recv().await.unwrap(), Notice::Published { .. }));

    for wrong in [url("hunter3"), server.url()] {
        let error = SharedState::connect(&wrong, options()).await.map(|_| ()).unwrap_err();
        assert!(matches!(&error, SharedError::Refused(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
}

/// A certificate authority, and what it signed for 127.0.0.1, as PEM: CA, certificate, key.
fn certificates() -> [String; 3] {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    [ca.pem(), leaf.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn tls_with_an_authority_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["ca.pem", "server.pem", "server.key"];
    let [ca, certificate, key] = names.map(|name| dir.path().join(name));
    for (path, pem) in [&ca, &certificate, &key].into_iter().zip(certificates()) {
        std::fs::write(path, pem).unwrap();
    }
    let lines = format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients no",
        certificate.display(),
        key.display(),
        ca.display(),
    );
    let server = RedisServer::start_with(&lines, Listen::Tls).unwrap();
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let trusting = RedisOptions { ca_file: Some(ca.clone()), ..options() };
    let state = SharedState::connect(&url, trusting).await.unwrap();
    let mut notices = state.subscribe();
    assert_eq!(state.exchange(&demand(1)).await.unwrap()[0].granted, 1);
    state.publish("a", "b").await.unwrap();
    assert!(matches!(notices.recv().await.unwrap(), Notice::Published { .. }));

    // Another authority, and none: no connection.
    let [other, ..] = certificates();
    std::fs::write(&ca, other).unwrap();
    for ca_file in [Some(ca), None] {
        let state = SharedState::connect(&url, RedisOptions { ca_file, ..options() }).await;
        assert!(!state.is_ok_and(|state| state.is_connected()));
    }
}

#[tokio::test]
async fn sentinel_names_the_new_master_when_the_old_one_dies() {
    let mut cluster = SentinelCluster::start().unwrap();
    let state = SharedState::connect(&cluster.url(), options()).await.unwrap();
    let mut notices = state.subscribe();
    assert_eq!(state.exchange(&demand(1)).await.unwrap()[0].granted, 1);
    // One Sentinel may be away as well.
    cluster.sentinels[0].kill();
    cluster.servers[0].kill();
    while state.is_connected() {
        state.exchange(&demand(1)).await.unwrap_err();
    }
    assert_eq!(until_answered(&state).await, 1);
    loop {
        // The listener finds the new master by itself.
        if notices.recv().await.unwrap() == Notice::Missed {
            break;
        }
    }
    state.publish("a", "b").await.unwrap();
    assert!(matches!(notices.recv().await.unwrap(), Notice::Published { .. }));
}
