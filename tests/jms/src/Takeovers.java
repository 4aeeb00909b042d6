import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;

/**
 * Ends the master of three brokers on one store again and again, and checks with a {@link Ledger} that
 * nothing is lost, doubled or changed, and how long clients had to wait.
 */
final class Takeovers extends JmsTest {
    private static final long DRAIN_MILLIS = 60_000;
    private static final int BACKLOG = 100_000;
    private static final int BACKLOG_BYTES = 1024;
    /** How long a master is up in a cycle, at most. */
    private final int upMillisMax = Broker.isActiveMq() ? 3000 : 300;

    private Group group;
    /** One master after the other has a number, so far apart; in between none can be told. */
    private static final int APART = 1_000_000;
    private volatile int masters;
    private volatile boolean changing;
    private final AtomicInteger unclear = new AtomicInteger();

    @Test(seconds = 600, secondsPerCycle = 12)
    void nothing_confirmed_is_lost_doubled_or_changed_when_masters_fail_over() throws Exception {
        Cycles cycles = Cycles.of(100, 3);
        Random random = cycles.random();
        group = closeAfter(Group.start(3));
        Ledger ledger = new Ledger();
        Clients clients = closeAfter(new Clients(group.urls(), ledger, this::number));
        clients.populate(queue("A"), queue("B"), queue("C"), topic(), random);
        clients.start();
        check(ledger.awaitAnswer(0, 2 * SOON), "no send was answered");
        for (int cycle = 0; cycle < cycles.count(); cycle++) {
            TimeUnit.MILLISECONDS.sleep(random.nextInt(upMillisMax));
            long answered = ledger.answered();
            Broker ended = failOver(random.nextInt(3) > 0);
            check(ledger.awaitAnswer(answered, 4 * SOON), "no send was answered after the takeover");
            group.awaitMaster();
            changed();
            ended.launch();
            if (cycle % 20 == 19) {
                allAtOnce();
            }
        }
        clients.stopSending();
        ledger.awaitAll(DRAIN_MILLIS);
        clients.stopReceiving();
        List<String> violations = new ArrayList<>(ledger.violations());
        if (Broker.isActiveMq()) {
            violations.removeIf(each -> (each + " ").matches(".* at [DE] .*"));
        }
        System.out.println("       " + cycles + ": " + ledger.answered() + " sends answered, "
                + ledger.received() + " receipts, " + violations.size() + " violations");
        equal(List.of(), violations);
    }

    @Test(seconds = 600, secondsPerCycle = 12)
    void a_takeover_is_hardly_felt() throws Exception {
        group = closeAfter(Group.start(3));
        measure(Cycles.of(60, 5), "an empty store", 250);
    }

    @Test(seconds = 600, secondsPerCycle = 15)
    void a_takeover_with_a_hundred_thousand_stored_messages_is_hardly_felt() throws Exception {
        group = closeAfter(Group.start(3));
        ActiveMQConnection connection = connectTo(group.failover("jms.useAsyncSend=true"));
        Session session = transacted(connection);
        MessageProducer producer = session.createProducer(queue("backlog"));
        for (int i = 0; i < BACKLOG; i++) {
            producer.send(body(session, BACKLOG_BYTES));
            if (i % 1000 == 999) {
                session.commit();
            }
        }
        connection.close();
        measure(Cycles.of(40, 3), BACKLOG + " stored messages", 1000);
    }

    /** Ends masters, and measures how long a client waited for the answer to a send. */
    private void measure(Cycles cycles, String what, long limitMillis) throws Exception {
        Random random = cycles.random();
        List<Long> killed = new ArrayList<>();
        List<Long> stopped = new ArrayList<>();
        try (Prober prober = new Prober()) {
            prober.start();
            for (int cycle = 0; cycle < cycles.count(); cycle++) {
                boolean kill = cycle % 4 != 3;
                prober.awaitMore(20);
                TimeUnit.MILLISECONDS.sleep(random.nextInt(upMillisMax));
                prober.slowest.set(0);
                Broker ended = failOver(kill);
                prober.awaitMore(2);
                (kill ? killed : stopped).add(TimeUnit.NANOSECONDS.toMillis(prober.slowest.get()));
                group.awaitMaster();
                ended.launch();
            }
            check(prober.failure == null, "a send failed: " + prober.failure);
        }
        System.out.println("       with " + what + ", longest gap between two answers of a client in ms: "
                + "kill -9 " + summary(killed) + "; SIGTERM " + summary(stopped) + "; " + cycles);
        if (!Broker.isActiveMq()) {
            check(percentile(killed, 50) <= limitMillis && percentile(killed, 99) <= 4 * limitMillis,
                    "takeovers are slow: " + killed);
        }
    }

    private static String summary(List<Long> millis) {
        return "p50 " + percentile(millis, 50) + ", p99 " + percentile(millis, 99) + " of " + millis.size();
    }

    private static long percentile(List<Long> millis, int percent) {
        List<Long> sorted = millis.stream().sorted().toList();
        return sorted.isEmpty() ? 0 : sorted.get(Math.min(sorted.size() - 1, sorted.size() * percent / 100));
    }

    /** Ends the master, by force or in order, and says which one it was. */
    private Broker failOver(boolean kill) throws Exception {
        Broker master = group.awaitMaster();
        changing = true;
        if (kill) {
            master.kill();
        } else {
            master.stop();
        }
        return master;
    }

    /** All nodes end, and start at the same moment. */
    private void allAtOnce() throws Exception {
        changing = true;
        group.killAll();
        group.startAll();
        changed();
    }

    /** The number of the master; while it changes, one that no message was ever received from. */
    private int number() {
        return masters * APART + (changing ? unclear.incrementAndGet() : 0);
    }

    private void changed() {
        masters++;
        unclear.set(0);
        changing = false;
    }

    private static BytesMessage body(Session session, int bytes) throws Exception {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(new byte[bytes]);
        return message;
    }

    /** Sends one message after the other and waits for each answer. */
    private final class Prober extends Thread implements AutoCloseable {
        /** The longest time between two answers, in nanoseconds. */
        final AtomicLong slowest = new AtomicLong();
        volatile Exception failure;
        private volatile boolean goesOn = true;
        private long answers;

        Prober() {
            super("prober");
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                ActiveMQConnection connection = connectTo(group.failover(""));
                Session session = auto(connection);
                MessageProducer producer = session.createProducer(queue("probe"));
                producer.setDeliveryMode(DeliveryMode.PERSISTENT);
                MessageConsumer consumer = auto(connectTo(group.failover(""))).createConsumer(queue("probe"));
                consumer.setMessageListener(message -> { });
                long last = System.nanoTime();
                while (goesOn) {
                    Message message = body(session, BACKLOG_BYTES);
                    producer.send(message);
                    long now = System.nanoTime();
                    slowest.accumulateAndGet(now - last, Math::max);
                    last = now;
                    answered();
                }
            } catch (Exception e) {
                failure = e;
            }
        }

        private synchronized void answered() {
            answers++;
            notifyAll();
        }

        synchronized void awaitMore(int more) throws InterruptedException {
            long before = answers;
            long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(4 * SOON);
            while (answers < before + more) {
                JmsTest.check(System.nanoTime() < end && failure == null, "no answer any more: " + failure);
                wait(10);
            }
        }

        @Override
        public void close() throws InterruptedException {
            goesOn = false;
            join(SOON);
        }
    }
}
