import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import javax.jms.BytesMessage;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * Load on a broker from the Java client with its defaults. Reads a command per line, answers each with
 * one line of JSON:
 *
 * <pre>
 * queue URL NAME MESSAGES BYTES WINDOW    one producer to one consumer, WINDOW messages under way
 * topic URL NAME MESSAGES BYTES CONSUMERS one producer to many consumers, as fast as it goes
 * selectors URL NAME MESSAGES BYTES CONSUMERS BLOCK BATCH
 *     a full queue to consumers each of which wants one of so many kinds, BLOCK messages of a kind in a row;
 *     persistent ones, sent in transactions of BATCH, where that is above 0
 * reply URL NAME REQUESTS BYTES           requests, each answered over a temporary queue
 * connect URL NAME CONNECTIONS            connections with a consumer each, kept until ...
 * release                                 ... closes them
 * send URL NAME PRODUCERS MESSAGES BYTES BATCH
 *     persistent messages of each producer, in transactions of BATCH; with 0 each is confirmed alone
 * receive URL NAME MESSAGES BATCH PATIENCE
 *     in transactions of BATCH, until all came or none came for PATIENCE milliseconds
 * </pre>
 */
public final class Load {
    private static final int TIMEOUT_SECONDS = 120;

    /** Open connections: of the running command, or kept by {@code connect}. */
    private final List<Connection> open = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        Load load = new Load();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String answer;
            String[] words = line.split(" ");
            try {
                answer = load.serve(words);
                if (!words[0].equals("connect")) {
                    load.release();
                }
            } catch (Exception e) {
                answer = "{\"error\": \"" + e.toString().replaceAll("[\"\\\\\\n]", "'") + "\"}";
            }
            System.out.println(answer);
        }
    }

    private String serve(String[] words) throws Exception {
        switch (words[0]) {
            case "queue":
                return queue(words[1], words[2], number(words, 3), number(words, 4), number(words, 5));
            case "topic":
                return topic(words[1], words[2], number(words, 3), number(words, 4), number(words, 5));
            case "selectors":
                return selectors(words[1], words[2], number(words, 3), number(words, 4), number(words, 5),
                        number(words, 6), number(words, 7));
            case "reply":
                return reply(words[1], words[2], number(words, 3), number(words, 4));
            case "connect":
                return connect(words[1], words[2], number(words, 3));
            case "send":
                return send(words[1], words[2], number(words, 3), number(words, 4), number(words, 5),
                        number(words, 6));
            case "receive":
                return receive(words[1], words[2], number(words, 3), number(words, 4),
                        number(words, 5));
            case "release":
                return "{}";
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static int number(String[] words, int at) {
        return Integer.parseInt(words[at]);
    }

    /** A session on a connection of its own. */
    private Session session(String url) throws JMSException {
        return session(url, false);
    }

    private Session session(String url, boolean transacted) throws JMSException {
        Connection connection = new ActiveMQConnectionFactory(url).createConnection();
        open.add(connection);
        connection.start();
        return connection.createSession(transacted, Session.AUTO_ACKNOWLEDGE);
    }

    private void release() throws JMSException {
        for (Connection connection : open) {
            connection.close();
        }
        open.clear();
    }

    private static MessageProducer producer(Session session, Destination to) throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        return producer;
    }

    private static BytesMessage message(Session session, byte[] body) throws JMSException {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        return message;
    }

    /** A body that begins with the time of sending. */
    private static Message stamped(Session session, byte[] rest) throws JMSException {
        BytesMessage message = session.createBytesMessage();
        message.writeLong(System.nanoTime());
        message.writeBytes(rest);
        return message;
    }

    private String queue(String url, String name, int messages, int bytes, int window)
            throws Exception {
        Session receiving = session(url);
        Semaphore room = new Semaphore(window);
        Count count = new Count(messages);
        receiving.createConsumer(receiving.createQueue(name)).setMessageListener(message -> {
            count.received(message);
            room.release();
        });
        Session sending = session(url);
        MessageProducer producer = producer(sending, sending.createQueue(name));
        byte[] rest = new byte[bytes - Long.BYTES];
        long begin = System.nanoTime();
        for (int i = 0; i < messages; i++) {
            if (!room.tryAcquire(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
                throw new IllegalStateException("no message came in " + TIMEOUT_SECONDS + " s");
            }
            producer.send(stamped(sending, rest));
        }
        return count.await(begin);
    }

    private String topic(String url, String name, int messages, int bytes, int consumers)
            throws Exception {
        Count count = new Count(messages * consumers);
        for (int i = 0; i < consumers; i++) {
            Session receiving = session(url);
            receiving.createConsumer(receiving.createTopic(name)).setMessageListener(count::received);
        }
        Session sending = session(url);
        MessageProducer producer = producer(sending, sending.createTopic(name));
        byte[] rest = new byte[bytes - Long.BYTES];
        long begin = System.nanoTime();
        for (int i = 0; i < messages; i++) {
            producer.send(stamped(sending, rest));
        }
        return count.await(begin);
    }

    private String selectors(String url, String name, int messages, int bytes, int consumers, int block,
            int batch) throws Exception {
        Session sending = session(url, batch > 0);
        MessageProducer producer = producer(sending, sending.createQueue(name));
        producer.setDeliveryMode(batch > 0 ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
        byte[] rest = new byte[bytes - Long.BYTES];
        for (int i = 0; i < messages; i++) {
            Message message = stamped(sending, rest);
            message.setIntProperty("kind", i / block % consumers);
            producer.send(message);
            if (batch > 0 && ((i + 1) % batch == 0 || i + 1 == messages)) {
                sending.commit();
            }
        }
        List<Session> receiving = new ArrayList<>();
        for (int i = 0; i < consumers; i++) {
            receiving.add(session(url));
        }
        Count count = new Count(messages);
        AtomicInteger starving = new AtomicInteger(consumers);
        AtomicReference<Long> fed = new AtomicReference<>(Long.MAX_VALUE);
        long begin = System.nanoTime();
        for (int i = 0; i < consumers; i++) {
            boolean[] got = new boolean[1];
            Session session = receiving.get(i);
            session.createConsumer(session.createQueue(name), "kind = " + i).setMessageListener(message -> {
                if (!got[0]) {
                    got[0] = true;
                    if (starving.decrementAndGet() == 0) {
                        fed.set(System.nanoTime());
                    }
                }
                count.received(message);
            });
        }
        String figures = count.await(begin);
        return "{\"fed_ms\": " + (fed.get() - begin) / 1e6 + ", " + figures.substring(1);
    }

    private String reply(String url, String name, int requests, int bytes) throws Exception {
        Session serving = session(url);
        MessageProducer answers = producer(serving, null);
        AtomicReference<JMSException> failed = new AtomicReference<>();
        serving.createConsumer(serving.createQueue(name)).setMessageListener(request -> {
            try {
                Message answer = serving.createBytesMessage();
                answer.setJMSCorrelationID(request.getJMSMessageID());
                answers.send(request.getJMSReplyTo(), answer);
            } catch (JMSException e) {
                failed.set(e);
            }
        });
        Session asking = session(url);
        Destination replies = asking.createTemporaryQueue();
        MessageConsumer consumer = asking.createConsumer(replies);
        MessageProducer producer = producer(asking, asking.createQueue(name));
        byte[] body = new byte[bytes];
        long[] took = new long[requests];
        long begin = System.nanoTime();
        for (int i = 0; i < requests; i++) {
            Message request = message(asking, body);
            request.setJMSReplyTo(replies);
            long sent = System.nanoTime();
            producer.send(request);
            if (consumer.receive(TimeUnit.SECONDS.toMillis(TIMEOUT_SECONDS)) == null) {
                throw new IllegalStateException("no answer: " + failed.get());
            }
            took[i] = System.nanoTime() - sent;
        }
        return figures(begin, System.nanoTime(), requests, took);
    }

    private String connect(String url, String name, int connections) throws Exception {
        for (int i = 0; i < connections; i++) {
            Session session = session(url);
            session.createConsumer(session.createQueue(name));
        }
        return "{}";
    }

    private String send(String url, String name, int producers, int messages, int bytes, int batch)
            throws Exception {
        List<Callable<long[]>> sending = new ArrayList<>();
        for (int i = 0; i < producers; i++) {
            Session session = session(url, batch > 0);
            MessageProducer producer = session.createProducer(session.createQueue(name));
            sending.add(() -> sent(session, producer, messages, new byte[bytes], batch));
        }
        ExecutorService threads = Executors.newFixedThreadPool(producers);
        long begin = System.nanoTime();
        List<Future<long[]>> sent = threads.invokeAll(sending);
        long end = System.nanoTime();
        threads.shutdown();
        long[] took = new long[producers * messages];
        for (int i = 0; i < producers; i++) {
            System.arraycopy(sent.get(i).get(), 0, took, i * messages, messages);
        }
        return figures(begin, end, took.length, took);
    }

    /** How long each message took, the last of a transaction with its commit. */
    private static long[] sent(Session session, MessageProducer producer, int messages, byte[] body,
            int batch) throws JMSException {
        long[] took = new long[messages];
        for (int i = 0; i < messages; i++) {
            Message message = message(session, body);
            long begin = System.nanoTime();
            producer.send(message);
            if (batch > 0 && ((i + 1) % batch == 0 || i + 1 == messages)) {
                session.commit();
            }
            took[i] = System.nanoTime() - begin;
        }
        return took;
    }

    private String receive(String url, String name, int messages, int batch, int patience)
            throws JMSException {
        Session session = session(url, true);
        MessageConsumer consumer = session.createConsumer(session.createQueue(name));
        int received = 0;
        long longest = 0;
        while (received < messages) {
            long asked = System.nanoTime();
            Message message = consumer.receive(patience);
            longest = Math.max(longest, System.nanoTime() - asked);
            if (message == null) {
                break;
            }
            received++;
            if (received % batch == 0) {
                session.commit();
            }
        }
        session.commit();
        return String.format("{\"messages\": %d, \"longest_wait_ms\": %.1f}", received, longest / 1e6);
    }

    private static String figures(long begin, long end, int messages, long[] took) {
        Arrays.sort(took);
        double seconds = (end - begin) / 1e9;
        return String.format(
                "{\"messages_per_second\": %.1f, \"latency_us\": {\"p50\": %.1f, \"p99\": %.1f}}",
                messages / seconds, took[took.length / 2] / 1e3, took[took.length * 99 / 100] / 1e3);
    }

    /** Counts what arrives, and how long it took. */
    private static final class Count {
        private final long[] took;
        private final AtomicInteger next = new AtomicInteger();
        private final CountDownLatch left;
        private final AtomicReference<JMSException> failed = new AtomicReference<>();

        Count(int messages) {
            took = new long[messages];
            left = new CountDownLatch(messages);
        }

        void received(Message message) {
            try {
                took[next.getAndIncrement()] = System.nanoTime() - ((BytesMessage) message).readLong();
            } catch (JMSException e) {
                failed.set(e);
            }
            left.countDown();
        }

        String await(long begin) throws InterruptedException {
            if (!left.await(TIMEOUT_SECONDS, TimeUnit.SECONDS) || failed.get() != null) {
                throw new IllegalStateException(left.getCount() + " did not come: " + failed.get());
            }
            return figures(begin, System.nanoTime(), took.length, took);
        }
    }
}
