//! One thread, one seed: which of the ready tasks runs next is drawn, and time passes only when nothing is
//! ready. A whole process dies by dropping its tasks, at whatever await points they stand.
//!
//! It is no tokio runtime, because there the order of ready tasks is given and a task cannot be killed
//! together with everything it has started.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use futures::future::BoxFuture;
use millpond_engine::tasks::{LongWork, Places, Tasks, Wait};
use millpond_testkit::Seeded;
use millpond_types::{Clock, Timestamp};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Which process a task belongs to. They die together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

/// A task, for cancelling it.
pub type TaskId = u64;

/// Polls a history may take; more means that it goes round in circles.
const STEPS_MAX: u64 = 3_000_000;

/// How long one poll takes on the simulated clock, in nanoseconds.
const POLL_NANOS: u64 = 1_000;

struct Task {
    process: Process,
    /// Out of ten chances to run, this many are passed over: a slow thread.
    sluggish: usize,
    /// Taken out while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    queued: bool,
}

struct State {
    now: u64,
    steps: u64,
    trace: u64,
    next_id: TaskId,
    tasks: BTreeMap<TaskId, Task>,
    ready: Vec<TaskId>,
    timers: BinaryHeap<Reverse<(u64, u64, Timer)>>,
    timers_made: u64,
}

struct Timer(Waker);

impl PartialEq for Timer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// The executor, its clock and its chance. Clones are the same one.
#[derive(Clone)]
pub struct Executor {
    state: Arc<Mutex<State>>,
    /// Where every choice of a history comes from.
    pub rng: Arc<Seeded>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}

struct Wakes {
    state: Arc<Mutex<State>>,
    task: TaskId,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        state.queue(self.task);
    }
}

impl State {
    fn queue(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id)
            && !task.queued
        {
            task.queued = true;
            self.ready.push(id);
        }
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(5) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Executor {
    /// The same seed gives the same history.
    pub fn new(seed: u64) -> Self {
        let state = State {
            now: 0,
            steps: 0,
            trace: seed,
            next_id: 0,
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BinaryHeap::new(),
            timers_made: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), rng: Arc::new(Seeded::new(seed)) }
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.state.lock().now
    }

    /// Polls so far.
    pub fn steps(&self) -> u64 {
        self.state.lock().steps
    }

    /// A number that two histories share only if they took the same course.
    pub fn trace(&self) -> u64 {
        self.state.lock().trace
    }

    /// Mixes something that happened into the trace.
    pub fn note(&self, what: &[u8]) {
        let mut state = self.state.lock();
        for chunk in what.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state.note(u64::from_le_bytes(word));
        }
    }

    /// True once in `n` times.
    pub fn once_in(&self, n: usize) -> bool {
        self.rng.below(n) == 0
    }

    /// Starts a task.
    pub fn spawn(&self, process: Process, future: BoxFuture<'static, ()>) -> TaskId {
        let sluggish = if self.once_in(8) { 1 + self.rng.below(9) } else { 0 };
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.tasks.insert(id, Task { process, sluggish, future: Some(future), queued: false });
        state.queue(id);
        id
    }

    /// Drops a task where it stands. It must not be the one that calls.
    pub fn cancel(&self, id: TaskId) {
        let task = self.state.lock().tasks.remove(&id);
        drop(task);
    }

    /// Drops every task of a process where it stands, in any order. The caller must belong to another.
    pub fn kill(&self, process: Process) {
        let mut doomed: Vec<Task> = {
            let mut state = self.state.lock();
            let ids: Vec<_> =
                state.tasks.iter().filter(|(_, t)| t.process == process).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| state.tasks.remove(id)).collect()
        };
        while !doomed.is_empty() {
            drop(doomed.swap_remove(self.rng.below(doomed.len())));
        }
    }

    /// Resolves after this many nanoseconds.
    pub fn sleep(&self, nanos: u64) -> Sleep {
        Sleep { executor: self.clone(), until: self.now() + nanos, armed: None }
    }

    /// Runs until this future is ready.
    ///
    /// # Errors
    /// If nothing can run any more, or the history does not end.
    pub fn run<T: 'static>(
        &self,
        process: Process,
        future: impl Future<Output = T> + 'static,
    ) -> Result<T, String> {
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        self.spawn(process, of_this_thread(async move { *slot.lock() = Some(future.await) }));
        loop {
            if let Some(value) = result.lock().take() {
                return Ok(value);
            }
            self.step()?;
        }
    }

    fn step(&self) -> Result<(), String> {
        let (id, mut future) = loop {
            let mut state = self.state.lock();
            state.now += POLL_NANOS;
            if state.ready.is_empty() {
                match state.timers.peek() {
                    Some(Reverse((at, ..))) => state.now = state.now.max(*at),
                    None => return Err("nothing can run any more: a task waits for ever".to_owned()),
                }
            }
            let mut due = Vec::new();
            while state.timers.peek().is_some_and(|Reverse((at, ..))| *at <= state.now) {
                let Some(Reverse((_, _, Timer(waker)))) = state.timers.pop() else { break };
                due.push(waker);
            }
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(Waker::wake);
                continue;
            }
            if state.ready.is_empty() {
                continue;
            }
            let choice = self.rng.below(state.ready.len());
            let id = state.ready[choice];
            let Some(task) = state.tasks.get_mut(&id) else {
                state.ready.swap_remove(choice);
                continue;
            };
            if self.rng.below(10) < task.sluggish {
                continue;
            }
            task.queued = false;
            let Some(future) = task.future.take() else { continue };
            state.ready.swap_remove(choice);
            state.steps += 1;
            if state.steps > STEPS_MAX {
                return Err(format!("the history does not end within {STEPS_MAX} steps"));
            }
            let now = state.now;
            state.note(id);
            state.note(now);
            break (id, future);
        };
        let waker = Waker::from(Arc::new(Wakes { state: self.state.clone(), task: id }));
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.state.lock();
        let cancelled = match state.tasks.get_mut(&id) {
            Some(task) if !done => {
                task.future = Some(future);
                return Ok(());
            }
            // Over, or killed by its own process's end while it ran.
            _ => state.tasks.remove(&id),
        };
        drop(state);
        drop(cancelled);
        drop(future);
        Ok(())
    }

    /// Drops every task: the end of a history.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut self.state.lock().tasks);
        drop(tasks);
    }
}

/// See [`Executor::sleep`].
pub struct Sleep {
    executor: Executor,
    until: u64,
    armed: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.executor.state.lock();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        if !self.armed.as_ref().is_some_and(|armed| armed.will_wake(cx.waker())) {
            state.timers_made += 1;
            let number = state.timers_made;
            state.timers.push(Reverse((self.until, number, Timer(cx.waker().clone()))));
            drop(state);
            self.armed = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The clock of one machine: simulated time, and how far it is set wrong.
pub struct SimClock {
    /// Where time comes from.
    pub executor: Executor,
    /// Milliseconds ahead of the true time.
    pub ahead_millis: std::sync::atomic::AtomicI64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_millis.load(std::sync::atomic::Ordering::Relaxed);
        Timestamp(1_700_000_000_000 + (self.executor.now() / 1_000_000) as i64 + ahead)
    }
}

/// The engine's own work, as tasks of its process.
#[derive(Debug)]
pub struct SimTasks {
    /// Where they run.
    pub executor: Executor,
    /// What they die with.
    pub process: Process,
}

impl Tasks for SimTasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.process, task);
    }
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.executor.sleep(how_long.as_nanos() as u64))
    }
    fn long(&self, _places: Places, work: LongWork) -> BoxFuture<'static, ()> {
        // A task of its own: like work on a thread it goes on when the one who asked for it has gone.
        let (sender, receiver) = futures::channel::oneshot::channel();
        let executor = self.executor.clone();
        self.executor.spawn(
            self.process,
            Box::pin(async move {
                executor.sleep(executor.rng.below(200_000) as u64).await;
                Long(Some(coroutine(work))).await;
                let _ = sender.send(());
            }),
        );
        Box::pin(async move {
            let _ = receiver.await;
        })
    }
}

/// A task of which the compiler cannot see that it may be sent to another thread, as no task ever is.
pub fn of_this_thread(future: impl Future<Output = ()> + 'static) -> BoxFuture<'static, ()> {
    Box::pin(OfThisThread(Box::pin(future)))
}

struct OfThisThread(Pin<Box<dyn Future<Output = ()>>>);

// SAFETY: as for `Long` below: there is one thread.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for OfThisThread {}

impl Future for OfThisThread {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

type Routine = Coroutine<Waker, (), (), DefaultStack>;

thread_local! {
    static STACKS: std::cell::RefCell<Vec<DefaultStack>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn coroutine(work: LongWork) -> Routine {
    let stack = STACKS.with_borrow_mut(Vec::pop);
    let stack = stack.unwrap_or_else(|| DefaultStack::new(1 << 20).expect("there is memory for a stack"));
    Coroutine::with_stack(stack, move |yielder, waker| work(&Waiter { yielder, waker: Mutex::new(waker) }))
}

/// Work with a stack of its own, which stands still while it waits.
struct Long(Option<Routine>);

// SAFETY: the executor and everything it runs live on one thread; `Send` is only asked for by the trait
// objects that the engine's ports are.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Long {}

impl Future for Long {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(routine) = &mut self.0 else { return Poll::Ready(()) };
        match routine.resume(cx.waker().clone()) {
            CoroutineResult::Yield(()) => Poll::Pending,
            CoroutineResult::Return(()) => {
                if let Some(routine) = self.0.take() {
                    STACKS.with_borrow_mut(|stacks| stacks.push(routine.into_stack()));
                }
                Poll::Ready(())
            }
        }
    }
}

struct Waiter<'a> {
    yielder: &'a Yielder<Waker, ()>,
    waker: Mutex<Waker>,
}

// SAFETY: as for `Long`: there is one thread.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Send for Waiter<'_> {}
// SAFETY: as for `Long`: there is one thread.
#[allow(unsafe_code, reason = "see above")]
unsafe impl Sync for Waiter<'_> {}

impl Wait for Waiter<'_> {
    fn wait(&self, mut future: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        loop {
            let waker = self.waker.lock().clone();
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return;
            }
            let waker = self.yielder.suspend(());
            *self.waker.lock() = waker;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<usize> {
        let executor = Executor::new(seed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for n in 0..8 {
            let (executor, seen) = (executor.clone(), seen.clone());
            executor.clone().spawn(
                Process(1),
                Box::pin(async move {
                    executor.sleep(n as u64 % 2).await;
                    seen.lock().push(n);
                }),
            );
        }
        let waiting = executor.clone();
        executor.run(Process(0), async move { waiting.sleep(1_000_000).await }).expect("it ends");
        std::mem::take(&mut *seen.lock())
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_eq!(order(3).len(), 8);
    }

    #[test]
    fn a_killed_process_goes_no_further_even_inside_long_work() {
        let executor = Executor::new(1);
        let done = Arc::new(Mutex::new(0));
        let tasks = SimTasks { executor: executor.clone(), process: Process(1) };
        for nanos in [1_000_000, 900_000_000] {
            let (done, slow) = (done.clone(), executor.clone());
            let work = tasks.long(
                Places::Trees,
                Box::new(move |wait| {
                    wait.wait(std::pin::pin!(slow.sleep(nanos)));
                    *done.lock() += 1;
                }),
            );
            executor.spawn(Process(1), work);
        }
        let killing = executor.clone();
        executor
            .run(Process(0), async move {
                killing.sleep(500_000_000).await;
                killing.kill(Process(1));
                killing.sleep(1_000_000_000).await;
            })
            .expect("it ends");
        assert_eq!(*done.lock(), 1, "the quick one only");
    }

    #[test]
    fn nothing_left_to_run_is_said() {
        let outcome = Executor::new(1).run(Process(0), std::future::pending::<()>());
        assert!(outcome.expect_err("it cannot end").contains("waits for ever"));
    }
}
