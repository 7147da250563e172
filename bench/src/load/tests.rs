//! The generator against servers whose behaviour is known.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Outcome, Pace, Plan, Request, hold_streams, run};

/// How the test server answers its n-th request.
#[derive(Clone, Copy)]
enum Behaviour {
    Answer(&'static [u8]),
    StallFirst(Duration),
    CloseAfterEach,
    StreamThenHold,
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
      transfer-encoding: chunked\r\n\r\nB\r\ndata: {\"a\n\r\nB\r\ndata: \"}\n\n\n\r\n";

fn serve(behaviour: Behaviour) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let requests = Arc::new(AtomicU64::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, behaviour, Arc::clone(&requests)));
            }
        });
    });
    receiver.recv().unwrap()
}

async fn answer(mut stream: TcpStream, behaviour: Behaviour, requests: Arc<AtomicU64>) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {
        let number = requests.fetch_add(1, Ordering::Relaxed);
        let reply = match behaviour {
            Behaviour::Answer(reply) => reply,
            Behaviour::StallFirst(pause) => {
                if number == 0 {
                    tokio::time::sleep(pause).await;
                }
                OK
            }
            Behaviour::CloseAfterEach => OK,
            Behaviour::StreamThenHold => STREAM_HEAD,
        };
        if stream.write_all(reply).await.is_err() {
            return;
        }
        if matches!(behaviour, Behaviour::CloseAfterEach) {
            return;
        }
    }
}

fn request(address: SocketAddr, streamed: bool) -> Request {
    Request { address, bytes: b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), streamed }
}

fn drive(behaviour: Behaviour, streamed: bool, plan: Plan) -> Outcome {
    run(request(serve(behaviour), streamed), &plan).unwrap()
}

const PLAN: Plan = Plan {
    pace: Pace::Closed,
    connections: 2,
    duration: Duration::from_secs(20),
    grace: Duration::from_secs(5),
    max_requests: 20,
};

#[test]
fn a_closed_loop_sends_no_more_than_allowed_and_counts_answers() {
    let outcome = drive(Behaviour::Answer(OK), false, PLAN);
    assert_eq!(outcome.completed, 20);
    assert_eq!(outcome.body_bytes, 40);
    assert_eq!(outcome.latency_us.count, 20);
    assert!(outcome.failures.is_empty());
}

#[test]
fn failures_are_counted_by_reason_and_not_as_latency() {
    let busy = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 1\r\n\r\n!";
    let outcome = drive(Behaviour::Answer(busy), false, PLAN);
    assert_eq!(outcome.failures["status 429"], 20);
    assert_eq!(outcome.completed, 0);
    assert_eq!(outcome.latency_us.count, 0);
}

#[test]
fn a_stream_without_its_last_event_is_a_failure() {
    let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                A\r\ndata: {}\n\n\r\n0\r\n\r\n";
    let outcome = drive(Behaviour::Answer(cut), true, PLAN);
    assert_eq!(outcome.failures["stream without an end"], 20);

    let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                  A\r\ndata: {}\n\n\r\nE\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    let outcome = drive(Behaviour::Answer(whole), true, PLAN);
    assert_eq!((outcome.completed, outcome.events), (20, 20));
    assert_eq!(outcome.first_event_us.count, 20);
}

#[test]
fn a_connection_closed_between_requests_is_opened_again() {
    let outcome = drive(Behaviour::CloseAfterEach, false, PLAN);
    assert_eq!(outcome.completed, 20);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(outcome.reconnects >= 1);
}

#[test]
fn an_open_loop_charges_a_stall_to_every_request_that_was_due() {
    let pause = Duration::from_millis(400);
    let pace = Pace::Open { rate: 100.0 };
    let plan = Plan { pace, connections: 1, duration: Duration::from_millis(500), ..PLAN };
    let plan = Plan { max_requests: 50, ..plan };
    let outcome = drive(Behaviour::StallFirst(pause), false, plan);
    assert_eq!(outcome.completed, 50);
    // The 40 requests due during the stall waited between 400 ms and nothing: 200 ms in the middle.
    assert!(outcome.latency_us.p50 > 100_000.0, "{:?}", outcome.latency_us);
    assert!(outcome.latency_us.max >= 400_000.0);
}

#[test]
fn what_is_not_answered_in_time_is_unfinished_and_has_a_latency() {
    let pace = Pace::Open { rate: 100.0 };
    let grace = Duration::from_millis(50);
    let duration = Duration::from_millis(100);
    let plan = Plan { pace, connections: 1, duration, grace, max_requests: 10 };
    let outcome = drive(Behaviour::StallFirst(Duration::from_secs(60)), false, plan);
    assert_eq!((outcome.completed, outcome.unfinished), (0, 10));
    assert_eq!(outcome.latency_us.count, 10);
    let closed = Plan { pace: Pace::Closed, ..plan };
    let outcome = drive(Behaviour::StallFirst(Duration::from_secs(60)), false, closed);
    assert_eq!((outcome.completed, outcome.unfinished), (0, 1));
}

#[test]
fn a_server_that_is_not_there_is_a_failure_not_a_hang() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let outcome = run(request(address, false), &Plan { max_requests: 3, ..PLAN }).unwrap();
    assert_eq!(outcome.failures.values().sum::<u64>(), 3);
}

#[test]
fn holds_streams_open_while_the_reading_is_taken() {
    let address = serve(Behaviour::StreamThenHold);
    let patience = Duration::from_secs(10);
    let held = hold_streams(request(address, true), 100, patience, || 7).unwrap();
    assert_eq!((held.open, held.reading), (100, 7));
    assert!(held.opened_in < patience);

    let address = serve(Behaviour::Answer(OK));
    let held = hold_streams(request(address, true), 5, patience, || 0).unwrap();
    assert_eq!(held.open, 0);
}
