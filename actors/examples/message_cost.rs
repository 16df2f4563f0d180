//! Measures what metrics and supervision cost per message.
//!
//! It prints nanoseconds per `do_send`, sender and receiver on one thread, for an actor in
//! actix's own context and one in the runtime's. It judges nothing: run it in release on a
//! quiet machine.
//!
//! `cargo run --release -p callboard-actors --example message_cost`

use std::time::{Duration, Instant};

use actix::{Actor, Addr, Handler, Message, dev::ToEnvelope};
use callboard_actors::runtime::{self, Observable, Registry, Spec, ask, monitored};

const ROUNDS: u32 = 5;
const BURSTS: u32 = 2_000;
const BURST: u32 = 1_000;
const DEADLINE: Duration = Duration::from_secs(10);

struct Count;

impl Message for Count {
    type Result = u64;
}

struct Plain(u64);

impl Actor for Plain {
    type Context = actix::Context<Self>;
}

impl Handler<Count> for Plain {
    type Result = u64;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u64 {
        self.0 += 1;
        self.0
    }
}

struct Measured(u64);

impl Actor for Measured {
    type Context = runtime::Context<Self>;
}

impl Observable for Measured {
    fn observe(&self) -> serde_json::Value {
        serde_json::json!({ "count": self.0 })
    }
}

monitored!(Measured, "message_cost");

impl Handler<Count> for Measured {
    type Result = u64;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Returns nanoseconds per message.
async fn time<A>(addr: &Addr<A>) -> Result<f64, runtime::AskError>
where
    A: Actor + Handler<Count>,
    A::Context: ToEnvelope<A, Count>,
{
    let begun = Instant::now();
    for _ in 0..BURSTS {
        for _ in 1..BURST {
            addr.do_send(Count);
        }
        // Also lets the actor run.
        ask(addr, Count, DEADLINE).await?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e9 / f64::from(BURSTS * BURST))
}

fn main() -> Result<(), runtime::AskError> {
    actix_rt::System::new().block_on(async {
        let registry = Registry::new();
        let plain = Plain(0).start();
        let measured = runtime::start(&Spec::new(&registry, "measured"), |_| Measured(0));
        for round in 1..=ROUNDS {
            let without = time(&plain).await?;
            let with = time(&measured).await?;
            println!(
                "round {round}: plain {without:.0} ns, measured {with:.0} ns, difference {:.0} ns",
                with - without
            );
        }
        Ok(())
    })
}
