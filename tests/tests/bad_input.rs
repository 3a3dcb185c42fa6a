//! Bad input from outside: each trouble gives a clear reason, the rest of the fleet goes on, nothing is lost, nothing
//! panics. The real runner on a real Redis.

#[path = "bad_input/ansible.rs"]
mod ansible;
#[path = "bad_input/dying_redis.rs"]
mod dying_redis;
#[path = "bad_input/graph.rs"]
mod graph;
#[path = "bad_input/stopping.rs"]
mod stopping;
#[path = "bad_input/wrong_redis.rs"]
mod wrong_redis;
