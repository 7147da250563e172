//! One suite for all implementations of the shared state: in the process and in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::redis::{RedisOptions, SharedState};
use storage::shared::{
    BudgetDemand, BudgetGrant, Granted, LimitDemand, Notice, Shared, SharedError,
};
use storage::testing_redis::RedisServer;
use storage::{LocalHub, LocalShared};

const HOUR_US: u64 = 3_600_000_000;

/// Where replicas meet. Each is made anew, so that keys of one test are not seen by another.
enum World {
    Local { hub: LocalHub, clock: Arc<AtomicU64> },
    Redis(RedisServer),
}

impl World {
    fn local() -> Self {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let reading = Arc::clone(&clock);
        let hub = LocalHub::with_clock(Arc::new(move || reading.load(Ordering::SeqCst)));
        Self::Local { hub, clock }
    }

    async fn replica(&self, id: &str) -> Box<dyn Shared> {
        match self {
            Self::Local { hub, .. } => Box::new(hub.replica(id)) as Box<LocalShared>,
            Self::Redis(server) => Box::new(redis(server, id).await),
        }
    }

    /// Makes a replica that was dropped look as if nobody had heard of it for 31 seconds, and the
    /// others as if they had just been heard of.
    async fn forget(&self, gone: &str, others: &[&dyn Shared]) {
        match self {
            Self::Local { clock, .. } => {
                clock.fetch_add(31_000_000, Ordering::SeqCst);
                for other in others {
                    other.replicas().await.unwrap();
                }
            }
            Self::Redis(server) => {
                let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
                let (s, us): (u64, u64) = redis::cmd("TIME").query(&mut raw).unwrap();
                let heard = s * 1_000_000 + us - 31_000_000;
                redis::cmd("ZADD")
                    .arg("llmp:{suite}:members")
                    .arg(heard)
                    .arg(gone)
                    .exec(&mut raw)
                    .unwrap();
            }
        }
    }
}

async fn redis(server: &RedisServer, id: &str) -> SharedState {
    let mut options = RedisOptions::new("suite");
    options.replica = id.to_owned();
    // Not a test of speed: the machine may be busy.
    options.timeout = std::time::Duration::from_secs(5);
    SharedState::connect(&server.url(), options).await.unwrap()
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::local()).await;
            })*
        }
        mod in_redis {
            $(#[tokio::test]
            async fn $name() {
                let server = super::RedisServer::start().unwrap();
                super::$name(super::World::Redis(server)).await;
            })*
        }
    };
}

suite!(
    a_limit_is_shared_and_never_passed,
    what_was_used_beyond_grants_is_owed,
    what_was_not_used_comes_back,
    units_come_back_with_time,
    limits_stand_for_themselves_and_answers_are_in_order,
    limits_out_of_range_are_refused,
    leases_and_spend_never_exceed_the_limit,
    a_lease_is_given_back,
    a_budget_is_seeded_once,
    windows_are_apart,
    overspend_is_counted_and_stops_grants,
    large_amounts_are_exact,
    the_leases_of_a_replica_that_is_gone_return,
    who_leases_is_there,
    random_leases_agree_with_a_model,
    replicas_are_counted,
    notices_reach_all,
);

fn demand(key: &str, burst: u64, used: i64, wanted: u64) -> LimitDemand {
    LimitDemand { key: key.to_owned(), period_us: HOUR_US, burst, used, wanted }
}

async fn exchange(replica: &dyn Shared, demand: LimitDemand) -> Granted {
    replica.exchange(&[demand]).await.unwrap()[0]
}

async fn a_limit_is_shared_and_never_passed(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    assert_eq!(exchange(&*a, demand("k", 100, 0, 60)).await.granted, 60);
    assert_eq!(exchange(&*b, demand("k", 100, 0, 60)).await.granted, 40);
    let none = exchange(&*a, demand("k", 100, 0, 1)).await;
    assert_eq!(none.granted, 0);
    // One of a hundred in an hour: 36 s.
    assert!(none.available_in_us <= 36_000_000, "{none:?}");
    assert!(none.available_in_us > 30_000_000, "{none:?}");
    let together = tokio::join!(
        exchange(&*a, demand("l", 100, 0, 80)),
        exchange(&*b, demand("l", 100, 0, 80)),
    );
    assert_eq!(together.0.granted + together.1.granted, 100);
}

async fn what_was_used_beyond_grants_is_owed(world: World) {
    let a = world.replica("a").await;
    let owed = exchange(&*a, demand("k", 100, 150, 10)).await;
    assert_eq!(owed.granted, 0);
    // Fifty too many, and one more: 51 * 36 s.
    assert!(owed.available_in_us > 50 * 36_000_000, "{owed:?}");
    assert!(owed.available_in_us <= 51 * 36_000_000, "{owed:?}");
    assert_eq!(exchange(&*a, demand("l", 100, 30, 100)).await.granted, 70);
}

async fn what_was_not_used_comes_back(world: World) {
    let a = world.replica("a").await;
    assert_eq!(exchange(&*a, demand("k", 100, 0, 100)).await.granted, 100);
    assert_eq!(exchange(&*a, demand("k", 100, -25, 100)).await.granted, 25);
    // Never more than the burst, however much is given back.
    assert_eq!(exchange(&*a, demand("k", 100, -100_000, 1000)).await.granted, 100);
}

async fn units_come_back_with_time(world: World) {
    let a = world.replica("a").await;
    // Ten in 200 ms.
    let ask = || LimitDemand { period_us: 200_000, ..demand("k", 10, 0, 10) };
    assert_eq!(exchange(&*a, ask()).await.granted, 10);
    match &world {
        World::Local { clock, .. } => {
            clock.fetch_add(99_999, Ordering::SeqCst);
            assert_eq!(exchange(&*a, ask()).await.granted, 4);
            clock.fetch_add(1, Ordering::SeqCst);
            let one = exchange(&*a, ask()).await;
            assert_eq!((one.granted, one.available_in_us), (1, 20_000));
            clock.fetch_add(10_000_000, Ordering::SeqCst);
            assert_eq!(exchange(&*a, ask()).await.granted, 10);
        }
        World::Redis(_) => {
            let mut come = 0;
            while come < 10 {
                come += exchange(&*a, ask()).await.granted;
            }
        }
    }
}

async fn limits_stand_for_themselves_and_answers_are_in_order(world: World) {
    let a = world.replica("a").await;
    let demands: Vec<_> = (1..=50).map(|n| demand(&format!("k{n}"), n, 0, 1000)).collect();
    let granted = a.exchange(&demands).await.unwrap();
    let granted: Vec<_> = granted.iter().map(|granted| granted.granted).collect();
    assert_eq!(granted, (1..=50).collect::<Vec<_>>());
    assert!(a.exchange(&[]).await.unwrap().is_empty());
    // A limit that does not divide its period: nothing is lost, nothing is won.
    let odd = |wanted| LimitDemand { period_us: 60_000_000, ..demand("odd", 7_777, 0, wanted) };
    let first = exchange(&*a, odd(7_000)).await.granted;
    assert_eq!(first, 7_000);
}

async fn limits_out_of_range_are_refused(world: World) {
    let a = world.replica("a").await;
    for wrong in [
        LimitDemand { period_us: 0, ..demand("k", 1, 0, 1) },
        demand("k", 0, 0, 1),
        demand("k", 1, i64::MIN, 1),
        demand("k", 1, 0, u64::MAX),
    ] {
        let error = a.exchange(&[wrong]).await.unwrap_err();
        assert!(matches!(error, SharedError::Argument(_)), "{error}");
    }
    let wrong = BudgetDemand { limit_nanos: -1, ..budget("b", 0, 0, 0) };
    assert!(matches!(a.lease_budget(&[wrong]).await, Err(SharedError::Argument(_))));
}

fn budget(key: &str, limit_nanos: i64, settled_delta: i64, wanted: i64) -> BudgetDemand {
    let (key, window) = (key.to_owned(), "2026-11".to_owned());
    BudgetDemand { key, window, limit_nanos, settled_delta, wanted, seed: Some(0) }
}

async fn lease(replica: &dyn Shared, demand: BudgetDemand) -> BudgetGrant {
    replica.lease_budget(&[demand]).await.unwrap()[0]
}

async fn leases_and_spend_never_exceed_the_limit(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    let first = lease(&*a, budget("b", 1000, 0, 600)).await;
    assert_eq!((first.granted, first.leased, first.total_leased), (600, 600, 600));
    let second = lease(&*b, budget("b", 1000, 0, 600)).await;
    assert_eq!((second.granted, second.leased, second.total_leased), (400, 400, 1000));
    // Spent out of the lease: as much is free as before, nothing.
    let third = lease(&*a, budget("b", 1000, 500, 100)).await;
    assert_eq!((third.granted, third.leased), (0, 100));
    assert_eq!((third.total_spent, third.total_leased), (500, 500));
}

async fn a_lease_is_given_back(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    lease(&*a, budget("b", 1000, 0, 1000)).await;
    let back = lease(&*a, budget("b", 1000, 200, -300)).await;
    assert_eq!((back.granted, back.leased, back.total_leased), (-300, 500, 500));
    assert_eq!(lease(&*b, budget("b", 1000, 0, 1000)).await.granted, 300);
    // No more than there is.
    let back = lease(&*a, budget("b", 1000, 0, -9999)).await;
    assert_eq!((back.granted, back.leased), (-500, 0));
}

async fn a_budget_is_seeded_once(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    let asked = lease(&*a, BudgetDemand { seed: None, ..budget("b", 1000, 0, 10) }).await;
    assert!(asked.needs_seed);
    assert_eq!(asked.granted, 0);
    let seeded = lease(&*a, BudgetDemand { seed: Some(900), ..budget("b", 1000, 0, 10) }).await;
    assert!(!seeded.needs_seed);
    assert_eq!((seeded.granted, seeded.total_spent), (10, 900));
    let again = lease(&*b, BudgetDemand { seed: Some(0), ..budget("b", 1000, 0, 1000) }).await;
    assert_eq!((again.granted, again.total_spent), (90, 900));
    let known = lease(&*b, BudgetDemand { seed: None, ..budget("b", 1000, 5, 0) }).await;
    assert!(!known.needs_seed);
    assert_eq!(known.total_spent, 905);
}

async fn windows_are_apart(world: World) {
    let a = world.replica("a").await;
    let next = |demand: BudgetDemand| BudgetDemand { window: "2026-12".to_owned(), ..demand };
    lease(&*a, budget("b", 100, 0, 100)).await;
    assert_eq!(lease(&*a, next(budget("b", 100, 0, 100))).await.granted, 100);
    let both = [budget("b", 100, 70, 0), next(budget("b", 100, 30, 0))];
    let both = a.lease_budget(&both).await.unwrap();
    assert_eq!((both[0].total_spent, both[1].total_spent), (70, 30));
}

async fn overspend_is_counted_and_stops_grants(world: World) {
    let a = world.replica("a").await;
    lease(&*a, budget("b", 100, 0, 10)).await;
    let over = lease(&*a, budget("b", 100, 150, 10)).await;
    assert_eq!((over.granted, over.leased, over.total_spent), (0, 0, 150));
    // A correction makes room.
    let corrected = lease(&*a, budget("b", 100, -60, 100)).await;
    assert_eq!((corrected.granted, corrected.total_spent), (10, 90));
    // So does a higher limit; a lower one takes no lease away.
    assert_eq!(lease(&*a, budget("b", 200, 0, 50)).await.leased, 60);
    let lowered = lease(&*a, budget("b", 100, 0, 1)).await;
    assert_eq!((lowered.granted, lowered.leased), (0, 60));
}

async fn large_amounts_are_exact(world: World) {
    let a = world.replica("a").await;
    // A milliard of roubles and one nano: a double knows neighbours only to 128 nanos there.
    let limit = 1_000_000_000_000_000_001;
    let first = lease(&*a, budget("b", limit, 0, limit - 3)).await;
    assert_eq!(first.granted, limit - 3);
    let second = lease(&*a, budget("b", limit, 1_999_999_999, 100)).await;
    assert_eq!((second.granted, second.total_spent), (3, 1_999_999_999));
    assert_eq!(second.total_leased, limit - 1_999_999_999);
    let third = lease(&*a, budget("b", limit, -2_000_000_000, 0)).await;
    assert_eq!(third.total_spent, -1);
}

async fn the_leases_of_a_replica_that_is_gone_return(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    lease(&*a, budget("b", 1000, 0, 800)).await;
    lease(&*a, budget("b", 1000, 300, 0)).await;
    assert_eq!(lease(&*b, budget("b", 1000, 0, 1000)).await.granted, 200);
    drop(a);
    world.forget("a", &[&*b]).await;
    let after = lease(&*b, budget("b", 1000, 0, 1000)).await;
    assert_eq!((after.granted, after.leased), (500, 700));
    assert_eq!((after.total_spent, after.total_leased), (300, 700));
    // If it was only away, it learns that it has no lease; what it spent is spent.
    let a = world.replica("a").await;
    let back = lease(&*a, budget("b", 1000, 50, 10)).await;
    assert_eq!((back.granted, back.leased, back.total_spent), (0, 0, 350));
}

async fn who_leases_is_there(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    world.forget("a", &[&*b]).await;
    lease(&*a, budget("b", 1000, 0, 800)).await;
    assert_eq!(lease(&*b, budget("b", 1000, 0, 1000)).await.granted, 200);
}

async fn random_leases_agree_with_a_model(world: World) {
    let replicas = [world.replica("a").await, world.replica("b").await];
    let mut random = fastrand::Rng::with_seed(7);
    let (mut spent, mut leases) = (0_i64, [0_i64, 0]);
    for _ in 0..300 {
        let which = random.usize(0..2);
        let limit = 5_000_000_000;
        let settled = random.i64(0..=leases[which]);
        let wanted = random.i64(-2_000_000_000..3_000_000_000);
        let demand = budget("b", limit, settled, wanted);
        let grant = lease(&*replicas[which], demand).await;
        spent += settled;
        leases[which] -= settled;
        let free = limit - spent - leases[0] - leases[1];
        let granted = wanted.clamp(-leases[which], free.max(0));
        leases[which] += granted;
        let total_leased = leases[0] + leases[1];
        let expected = BudgetGrant {
            granted,
            leased: leases[which],
            total_spent: spent,
            total_leased,
            needs_seed: false,
        };
        assert_eq!(grant, expected);
        assert!(spent + total_leased <= limit);
    }
}

async fn replicas_are_counted(world: World) {
    let a = world.replica("a").await;
    assert_eq!(a.known_replicas(), 1);
    assert_eq!(a.replicas().await.unwrap(), 1);
    let b = world.replica("b").await;
    assert_eq!(a.replicas().await.unwrap(), 2);
    assert_eq!(a.known_replicas(), 2);
    drop(b);
    world.forget("b", &[&*a]).await;
    assert_eq!(a.replicas().await.unwrap(), 1);
}

async fn notices_reach_all(world: World) {
    let (a, b) = (world.replica("a").await, world.replica("b").await);
    let (mut at_a, mut at_b) = (a.subscribe(), b.subscribe());
    a.publish("directory", "тенант 17\nи ещё").await.unwrap();
    let expected = Notice::Published {
        topic: "directory".to_owned(),
        payload: "тенант 17\nи ещё".to_owned(),
    };
    assert_eq!(at_a.recv().await.unwrap(), expected);
    assert_eq!(at_b.recv().await.unwrap(), expected);
}
