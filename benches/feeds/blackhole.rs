//! Stale reads of dc2 at a steady pace while it is gone, and while one of its servers is.

use super::load::{self, Run, ms};
use super::rig::wan::Federation;
use super::rig::{Agent, wait_until};
use super::{ONE_WAY, PAIRS, THREE_FAR, api, federation, print, register_web};
use std::time::Duration;

const CONNECTIONS: u32 = 50;
const PER_SECOND: u32 = 500;
const PATH: &str = "/v1/health/service/web?dc=dc2&stale";
const LEADERS: &str = "/v1/health/service/web?dc=dc2";

pub fn measure(short: bool) {
    let (before, cut) = if short { (5, 10) } else { (10, 60) };
    let root = tempfile::tempdir().unwrap();
    let mut federation = federation(root.path(), THREE_FAR);
    register_web(&federation);
    federation.wan.set(|weather| weather.delay = ONE_WAY);
    blackholed(&federation, Duration::from_secs(before), Duration::from_secs(cut));
    one_killed(&mut federation, Duration::from_secs(before));
}

fn reads(federation: &Federation, time: Duration) -> Run {
    load::paced(api(&federation.near.servers[0]), CONNECTIONS, PER_SECOND, time, &load::get(PATH))
}

fn blackholed(federation: &Federation, before: Duration, time: Duration) {
    let (mut ratios, mut failed) = (Vec::new(), 0);
    for pair in 1..=PAIRS {
        let well = reads(federation, before);
        federation.wan.cut_both_ways();
        let cut = reads(federation, time);
        federation.wan.heal();
        comes_back(&federation.near.servers[0]);
        assert_eq!(well.failed, 0);
        failed += cut.failed;
        ratios.push(cut.p99.as_secs_f64() / well.p99.as_secs_f64());
        println!(
            "pair {pair}: before {:.0}/s p50 {:.3} ms p99 {:.3} ms; cut for {time:?} {:.0}/s p50 {:.3} ms p99 {:.3} ms, {} failed",
            well.rate,
            ms(well.p50),
            ms(well.p99),
            cut.rate,
            ms(cut.p50),
            ms(cut.p99),
            cut.failed
        );
    }
    print("blackholed / before, p99 of stale reads", ratios, 2, "2");
    println!("blackholed: {failed} of {PAIRS} times {time:?} of {PER_SECOND} reads/s failed, bar 0");
}

/// Each time the server that was asked most.
fn one_killed(federation: &mut Federation, time: Duration) {
    let (mut ratios, mut failed) = (Vec::new(), 0);
    for pair in 1..=PAIRS {
        let asked = federation.near.servers[0].url(LEADERS);
        let live = federation.wan.busiest_far(|| (0..40).for_each(|_| _ = super::rig::request("GET", &asked, None)));
        let well = reads(federation, time);
        let killed = federation.far.servers.remove(live);
        let plan = killed.plan.clone();
        let run = std::thread::scope(|scope| {
            let running = scope.spawn(|| reads(federation, time));
            std::thread::sleep(time / 4);
            killed.kill();
            running.join().unwrap()
        });
        federation.far.servers.insert(live, plan.start());
        federation.settle();
        failed += run.failed;
        ratios.push(run.p99.as_secs_f64() / well.p99.as_secs_f64());
        println!(
            "pair {pair}: before p99 {:.3} ms; s{} killed p50 {:.3} ms p99 {:.3} ms, {} failed",
            ms(well.p99),
            live + 1,
            ms(run.p50),
            ms(run.p99),
            run.failed
        );
    }
    print("one server of dc2 killed / before, p99 of stale reads", ratios, 2, "none, for the record");
    println!("one server of dc2 killed: {failed} of {PAIRS} times {time:?} of {PER_SECOND} reads/s failed, bar 0");
}

fn comes_back(near: &Agent) {
    for path in [LEADERS, PATH] {
        wait_until("it is back", || (near.get(path).status == 200).then_some(()));
    }
    wait_until("its age is small again", || {
        let told = near.get(PATH).header("X-Consul-LastContact").parse::<u64>().unwrap();
        (told < 3_000).then_some(())
    });
}
