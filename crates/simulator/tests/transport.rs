//! What reaches a caller's socket: faults, segment layouts, both HTTP versions, TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use simulator::{Options, Outcome, Profile, Simulator};

const PATIENCE: Duration = Duration::from_secs(10);

fn started(profile: &str) -> Simulator {
    let profile = Profile::parse(profile).expect("profile");
    Simulator::start_blocking(Options { profile, ..Options::default() }).expect("starts")
}

fn connected(simulator: &Simulator) -> TcpStream {
    let socket = TcpStream::connect(simulator.address()).expect("connects");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket.set_nodelay(true).expect("nodelay");
    socket
}

fn send(socket: &mut TcpStream, text: &str, stream: bool) {
    let body = serde_json::json!({
        "model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": text}],
    })
    .to_string();
    let request = format!(
        "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sim-a\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("sent");
}

/// What was received until the end, and how it ended.
fn received(socket: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return (all, Ok(())),
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) => return (all, Err(error)),
        }
    }
}

fn exchange(simulator: &Simulator, text: &str, stream: bool) -> (String, std::io::Result<()>) {
    let mut socket = connected(simulator);
    send(&mut socket, text, stream);
    let (bytes, end) = received(&mut socket);
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

fn last_outcome(simulator: &Simulator) -> Outcome {
    simulator.requests().last().expect("a request").outcome
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stream_ends_as_http_says() {
    let simulator = started("");
    let (text, end) = exchange(&simulator, "[[sim: text=Да; chunks=2]]", true);
    assert!(end.is_ok());
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/event-stream"));
    assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{text}");
    assert_eq!(last_outcome(&simulator), Outcome::Completed);
}

#[test]
fn reset_is_a_tcp_reset_before_and_inside_the_answer() {
    let simulator = started("");
    let (text, end) = exchange(&simulator, "[[sim: reset]]", false);
    assert_eq!(text, "");
    assert_eq!(end.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    let (text, end) = exchange(&simulator, "[[sim: reset_after=2; text=Раз два три]]", true);
    assert_eq!(text.matches("\"content\":\"").count(), 3, "{text}");
    assert_eq!(end.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(last_outcome(&simulator), Outcome::Broken);
    let (text, end) = exchange(&simulator, "[[sim: reset_after=1]]", false);
    assert!(text.contains("content-length"), "{text}");
    assert!(end.is_err());
}

#[test]
fn a_cut_is_a_fin_without_the_end() {
    let simulator = started("");
    let (text, end) = exchange(&simulator, "[[sim: cut_after=1; text=Раз два]]", true);
    assert!(end.is_ok(), "{end:?}");
    assert!(!text.contains("[DONE]") && !text.ends_with("0\r\n\r\n"), "{text}");
    // The opening with the role and an empty text, then the one content event.
    assert_eq!(text.matches("\"content\":\"").count(), 2, "{text}");
    let (text, end) = exchange(&simulator, "[[sim: cut_after=0; text=Раз два]]", false);
    assert!(end.is_ok());
    assert!(!text.ends_with('}') && text.contains("\"choices\""), "{text}");
}

#[test]
fn segments_end_inside_code_points() {
    let simulator = started("");
    let mut socket = connected(&simulator);
    send(&mut socket, "[[sim: split_utf8; text=Привет; chunks=1]]", true);
    let (mut all, mut buffer, mut broken) = (Vec::new(), [0; 65536], false);
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
        broken |= std::str::from_utf8(&all).is_err();
    }
    assert!(broken, "no read ended inside a code point");
}

#[test]
fn a_caller_that_leaves_is_noticed_and_billed_for_what_it_got() {
    let simulator = started("");
    let mut socket = connected(&simulator);
    send(&mut socket, "[[sim: chunks=1000; between_ms=5]]", true);
    let mut buffer = [0; 1024];
    assert!(socket.read(&mut buffer).expect("starts") > 0);
    drop(socket);
    eventually("client gone", || last_outcome(&simulator) == Outcome::ClientGone);
    let bill = simulator.bill();
    let tokens = bill["openai:sim-a"].total.completion_tokens;
    assert!(tokens < 500, "{tokens}");

    let mut socket = connected(&simulator);
    send(&mut socket, "[[sim: hang]]", false);
    eventually("arrived", || simulator.requests().len() == 2);
    drop(socket);
    eventually("client gone", || last_outcome(&simulator) == Outcome::ClientGone);
}

#[test]
fn the_profile_applies_and_can_be_replaced() {
    let simulator = started("rules: [{when: {model: 'gpt-*'}, then: {status: 503}}]");
    let (text, _) = exchange(&simulator, "Привет", false);
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    simulator.set_profile(Profile::parse("rate_limit: {requests_per_minute: 1}").expect("profile"));
    assert!(exchange(&simulator, "Привет", false).0.starts_with("HTTP/1.1 200"));
    let (text, _) = exchange(&simulator, "Привет", false);
    assert!(text.starts_with("HTTP/1.1 429") && text.contains("retry-after: "), "{text}");
}

#[test]
fn same_seed_same_bytes() {
    let bodies: Vec<String> = (0..2)
        .map(|_| {
            let simulator = started("seed: 42");
            let text = exchange(&simulator, "Привет", false).0;
            let body = text.split("\r\n\r\n").nth(1).expect("body");
            let mut value: serde_json::Value = serde_json::from_str(body).expect("JSON");
            value["created"] = 0.into();
            value.to_string()
        })
        .collect();
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn half_requests_and_noise_harm_nothing() {
    let simulator = started("");
    for noise in [
        &b"POST /openai/v1/chat/completions HTTP/1.1\r\ncontent-length: 10\r\n\r\n{"[..],
        b"\x00\xff\x16\x03noise\r\n\r\n",
        b"GET",
    ] {
        let mut socket = connected(&simulator);
        socket.write_all(noise).expect("sent");
        drop(socket);
    }
    assert!(exchange(&simulator, "Привет", false).0.starts_with("HTTP/1.1 200"));
}

#[test]
fn shutdown_frees_the_address() {
    let simulator = started("");
    let address = simulator.address();
    simulator.shutdown();
    assert!(TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err());
    let options = Options { listen: address, ..Options::default() };
    Simulator::start_blocking(options).expect("starts again");
}
