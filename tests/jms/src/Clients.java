import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntSupplier;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.RedeliveryPolicy;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.FlushCommand;
import org.apache.activemq.transport.DefaultTransportListener;

/** Clients that send and receive without a pause, and note in a ledger what they see. */
final class Clients implements AutoCloseable {
    /** So many messages are one transaction or one acknowledgement. */
    static final int BATCH = 10;
    /** One transaction in so many is rolled back. */
    private static final int ROLLBACK_EVERY = 20;
    /** The client shall not hide it when the broker delivers something twice. */
    private static final String OPTIONS = "&jms.watchTopicAdvisories=false&jms.prefetchPolicy.all=100"
            + "&jms.checkForDuplicates=false";
    /** For so long after it is back, a client may still hand out what the last broker sent. */
    private static final long UNCLEAR_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

    /** How a consumer acknowledges; the automatic one is not told whether the broker has heard of it. */
    enum Style { AUTO, CLIENT, INDIVIDUAL, TRANSACTED }

    private final String url;
    private final Ledger ledger;
    /** How many brokers have died; it grows before the next is started. */
    private final IntSupplier deaths;
    private final List<Sender> senders = new ArrayList<>();
    private final List<Receiver> receivers = new ArrayList<>();
    /** When a consumer of a place gave back what it had not looked at, as a count of deaths. */
    private final Map<String, Integer> givenBack = new ConcurrentHashMap<>();
    /** The brokers by their ids: how many had died when the first client was connected to it. */
    private final Map<String, Integer> brokers = new ConcurrentHashMap<>();
    private final Set<ActiveMQDestination> unordered = new HashSet<>();
    private final AtomicInteger inFlight = new AtomicInteger();
    private volatile boolean sending = true;
    private volatile boolean receiving = true;

    Clients(String url, Ledger ledger, IntSupplier deaths) {
        this.url = url;
        this.ledger = ledger;
        this.deaths = deaths;
    }

    /** Sends each message to all destinations, so many in a transaction if it is more than one. */
    void send(String name, int batch, long seed, List<ActiveMQDestination> to, List<String> places)
            throws JMSException {
        ledger.open(name, batch, places);
        senders.add(new Sender(name, batch, new Random(seed), to));
    }

    /** Receives at a place: a queue, or the durable subscription of that name to a topic. */
    void receive(Style style, ActiveMQDestination from, String place) throws JMSException {
        receivers.add(new Receiver(style, from, place, null));
    }

    /** Receives at a place and sends on, both in one transaction; what was rolled back comes later there. */
    void move(ActiveMQDestination from, String place, ActiveMQDestination to) throws JMSException {
        unordered.add(to);
        receivers.add(new Receiver(Style.TRANSACTED, from, place, to));
    }

    /**
     * A client of each kind that matters: at two queues, at one to which messages are moved in transactions,
     * and at a topic.
     */
    void populate(ActiveMQDestination a, ActiveMQDestination b, ActiveMQDestination c, ActiveMQDestination t,
            Random random) throws JMSException {
        receive(Style.AUTO, a, "A");
        receive(Style.CLIENT, a, "A");
        move(b, "B", c);
        receive(Style.INDIVIDUAL, c, "C");
        receive(Style.CLIENT, t, "D");
        receive(Style.TRANSACTED, t, "E");
        send("to A", 1, random.nextLong(), List.of(a), List.of("A"));
        send("to B, from there to C", 1, random.nextLong(), List.of(b), List.of("B", "C"));
        send("to T", 1, random.nextLong(), List.of(t), List.of("D", "E"));
        send("transactions to A and T", BATCH, random.nextLong(), List.of(a, t), List.of("A", "D", "E"));
    }

    void start() {
        receivers.forEach(Thread::start);
        senders.forEach(Thread::start);
    }

    /** Whether a send or a commit is not answered yet. */
    boolean isSending() {
        return inFlight.get() > 0;
    }

    void stopSending() throws InterruptedException {
        sending = false;
        await(senders);
    }

    /** Ends the receivers when nothing more comes to them. */
    void stopReceiving() throws InterruptedException {
        receiving = false;
        await(receivers);
    }

    private void await(List<? extends Client> clients) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(2 * JmsTest.SOON);
        for (Client each : clients) {
            each.join(Math.max(1, TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime())));
            if (each.isAlive()) {
                ledger.violate("endless: " + each.getName() + " does not come to an end: it was last refused "
                        + each.refusal + " and is at " + Arrays.toString(each.getStackTrace()));
            }
        }
    }

    @Override
    public void close() throws JMSException {
        for (List<? extends Client> each : List.of(senders, receivers)) {
            for (Client client : each) {
                client.connection.close();
            }
        }
    }

    /** A thread with a connection of its own that comes back to a broker that was away. */
    private abstract class Client extends Thread {
        final ActiveMQConnection connection;
        /** How often it has lost the broker, whether it is without one now, and since when it is not. */
        private volatile int interruptions;
        private volatile boolean interrupted;
        private volatile long resumed;
        /** The broker that it was connected to before. */
        private volatile int earlier;
        volatile JMSException refusal;

        Client(String name) throws JMSException {
            super(name);
            setDaemon(true);
            connection = (ActiveMQConnection) JmsTest.factory("failover:(" + url + ")?"
                    + PersistentTest.RECONNECTING + OPTIONS).createConnection();
            connection.getRedeliveryPolicy().setMaximumRedeliveries(RedeliveryPolicy.NO_MAXIMUM_REDELIVERIES);
            connection.setClientID(name);
            connection.addTransportListener(new DefaultTransportListener() {
                @Override
                public void transportInterupted() {
                    interrupted = true;
                    earlier = source();
                    interruptions++;
                }

                @Override
                public void transportResumed() {
                    resumed = System.nanoTime();
                    interrupted = false;
                }
            });
            connection.start();
        }

        /** The count of interruptions, if it is clear which broker the client talks to. */
        final int settled() {
            int seen = interruptions;
            boolean clear = !interrupted && System.nanoTime() - resumed > UNCLEAR_NANOS;
            return clear ? seen : Ledger.UNCLEAR;
        }

        final boolean isStill(int settled) {
            return settled != Ledger.UNCLEAR && settled == interruptions;
        }

        /** The broker that it is connected to, or was last: as many had died before. */
        final int source() {
            String id = String.valueOf(connection.getBrokerInfo().getBrokerId());
            return brokers.computeIfAbsent(id, unknown -> deaths.getAsInt());
        }

        /** The earliest broker that can have sent what it hands out now. */
        final int source(boolean clear) {
            return clear ? source() : earlier;
        }

        @Override
        public final void run() {
            try {
                work();
            } catch (Exception e) {
                ledger.violate("a client failed: " + getName() + ": " + e + " at " + Arrays.toString(e.getStackTrace()));
            }
        }

        abstract void work() throws Exception;
    }

    private final class Sender extends Client {
        private final int batch;
        private final Random random;
        private final List<ActiveMQDestination> to;
        private final Session session;
        private final MessageProducer producer;

        Sender(String name, int batch, Random random, List<ActiveMQDestination> to) throws JMSException {
            super(name);
            this.batch = batch;
            this.random = random;
            this.to = to;
            session = batch > 1 ? JmsTest.transacted(connection) : JmsTest.auto(connection);
            producer = session.createProducer(null);
        }

        @Override
        void work() throws Exception {
            while (sending) {
                ledger.awaitRoom(getName(), () -> sending);
                inFlight.incrementAndGet();
                for (int i = 0; i < batch; i++) {
                    Message message = Ledger.message(session, getName(), ledger.ask(getName()), random);
                    for (ActiveMQDestination each : to) {
                        producer.send(each, message);
                    }
                }
                if (batch == 1) {
                    ledger.answer(getName(), 1);
                } else {
                    end();
                }
                inFlight.decrementAndGet();
            }
        }

        private void end() throws JMSException {
            if (random.nextInt(ROLLBACK_EVERY) == 0) {
                ledger.drop(getName(), batch);
                session.rollback();
                return;
            }
            try {
                session.commit();
                ledger.answer(getName(), batch);
            } catch (JMSException inDoubt) {
                // The ledger accepts all of it or nothing.
                refusal = inDoubt;
                session.rollback();
            }
        }
    }

    private final class Receiver extends Client {
        private final Style style;
        private final ActiveMQDestination from;
        private final String place;
        private final ActiveMQDestination to;
        private final Random random = new Random(1);
        private Session session;
        private MessageConsumer consumer;
        /** What is received and not acknowledged. */
        private final List<Message> messages = new ArrayList<>();
        private final List<Ledger.Receipt> receipts = new ArrayList<>();
        /** Where the client was when it got the first of them; UNCLEAR if it was elsewhere since. */
        private int settled;
        /** The last sequence of each sender, and since when. */
        private final Map<String, Integer> last = new HashMap<>();
        private int since;
        private boolean lookedTwice;

        Receiver(Style style, ActiveMQDestination from, String place, ActiveMQDestination to) throws JMSException {
            super(place + " " + style + " " + receivers.size());
            this.style = style;
            this.from = from;
            this.place = place;
            this.to = to;
            connection.setSendAcksAsync(style == Style.AUTO);
            subscribe();
        }

        private void subscribe() throws JMSException {
            session = switch (style) {
                case AUTO -> JmsTest.auto(connection);
                case CLIENT -> JmsTest.client(connection);
                case INDIVIDUAL -> connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
                case TRANSACTED -> JmsTest.transacted(connection);
            };
            consumer = from instanceof ActiveMQTopic topic
                    ? session.createDurableSubscriber(topic, place) : session.createConsumer(from);
        }

        @Override
        void work() throws Exception {
            while (true) {
                int before = settled();
                Message message = consumer.receive(JmsTest.MOMENT);
                if (message != null) {
                    note(message, before);
                } else if (!receiving && messages.isEmpty() && lookedTwice) {
                    return;
                } else if (!receiving && messages.isEmpty()) {
                    // What a broker held back from one consumer it may give to the next.
                    lookedTwice = true;
                    reopen();
                }
                int full = style == Style.INDIVIDUAL ? 1 : BATCH;
                if (messages.size() == full || message == null && !messages.isEmpty()) {
                    finish();
                }
            }
        }

        private void note(Message message, int before) throws JMSException {
            boolean clear = isStill(before);
            Ledger.Receipt receipt = ledger.receive(place, message, clear, source(clear), deaths.getAsInt());
            if (clear) {
                inOrder(receipt, before);
            }
            if (style != Style.AUTO) {
                settled = messages.isEmpty() || settled == before ? before : Ledger.UNCLEAR;
                messages.add(message);
                receipts.add(receipt);
            }
        }

        /**
         * What comes for the first time comes in the order of its sender, as long as the broker lives and
         * no other consumer has given messages back.
         */
        private void inOrder(Ledger.Receipt receipt, int now) {
            if (since != now) {
                last.clear();
                since = now;
            }
            boolean ordered = !unordered.contains(from)
                    && givenBack.getOrDefault(place, Ledger.UNCLEAR) < source();
            if (ordered && receipt.first() && !receipt.redelivered()) {
                Integer before = last.put(receipt.sender(), receipt.sequence());
                if (before != null && before > receipt.sequence()) {
                    ledger.violate("I5 out of order: " + receipt + " behind " + before);
                }
            }
        }

        /** Acknowledges what was received, and notes it if the broker has confirmed it beyond doubt. */
        private void finish() throws JMSException {
            try {
                if (acknowledge() && isStill(settled)) {
                    receipts.forEach(receipt -> ledger.confirm(receipt, source()));
                }
            } catch (JMSException inDoubt) {
                // The client may go on with messages that the broker has not any more: so begin anew.
                refusal = inDoubt;
                reopen();
            }
            messages.clear();
            receipts.clear();
        }

        private void reopen() throws JMSException {
            givenBack.put(place, deaths.getAsInt());
            receipts.forEach(ledger::giveBack);
            session.close();
            subscribe();
        }

        private boolean isAlone() {
            return receivers.stream().filter(each -> each.place.equals(place)).count() == 1;
        }

        private boolean acknowledge() throws JMSException {
            if (style != Style.TRANSACTED) {
                messages.get(messages.size() - 1).acknowledge();
                // A client that is just losing its broker acknowledges nothing; this makes it notice.
                connection.syncSendPacket(new FlushCommand());
                return true;
            }
            if (isAlone() && random.nextInt(ROLLBACK_EVERY) == 0) {
                session.rollback();
                // In a crash the client would get them from itself and from the broker.
                reopen();
                return false;
            }
            if (to != null) {
                MessageProducer producer = session.createProducer(to);
                Set<String> sent = new HashSet<>();
                for (Message each : messages) {
                    // What an earlier broker had delivered in this transaction may have come again.
                    if (sent.add(each.getJMSMessageID())) {
                        producer.send(each);
                    }
                }
                producer.close();
            }
            session.commit();
            return true;
        }
    }
}
