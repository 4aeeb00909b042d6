import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQConnectionFactory;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConnectionControl;

/** What every test needs: connections that are closed after it, names of its own, and checks. */
abstract class JmsTest {
    /** How long a test waits for what must come. */
    static final long SOON = 15_000;
    /** How long a test waits for what must not come. */
    static final long MOMENT = 250;

    private final Deque<AutoCloseable> opened = new ArrayDeque<>();
    private String name;

    final void begin(String testName) {
        name = testName;
    }

    /** Closes what the test opened, the last first; what is broken by then may refuse. */
    final void end() {
        while (!opened.isEmpty()) {
            try {
                opened.pop().close();
            } catch (Exception e) {
                if (Boolean.getBoolean("stack")) {
                    System.out.println("       closing after " + name + ": " + e);
                }
            }
        }
    }

    final <T extends AutoCloseable> T closeAfter(T resource) {
        synchronized (opened) {
            opened.push(resource);
        }
        return resource;
    }

    // Connections.

    /** Where {@link #connect()} goes: the shared broker, unless a test has one of its own. */
    Broker broker() throws Exception {
        return Broker.shared();
    }

    final String url(String options) throws Exception {
        return with(broker().url(), options);
    }

    static String with(String url, String options) {
        return options.isEmpty() ? url : url + (url.contains("?") ? "&" : "?") + options;
    }

    static ActiveMQConnectionFactory factory(String url) {
        ActiveMQConnectionFactory factory = new ActiveMQConnectionFactory(url);
        factory.setTrustAllPackages(true);
        if (!url.contains("edeliveryDelay")) {
            factory.getRedeliveryPolicy().setInitialRedeliveryDelay(1);
            factory.getRedeliveryPolicy().setRedeliveryDelay(1);
        }
        return factory;
    }

    /** A started connection to the broker, closed after the test. */
    final ActiveMQConnection connect() throws Exception {
        return connect("");
    }

    /** A started connection with these options in its URL. */
    final ActiveMQConnection connect(String options) throws Exception {
        return connectTo(url(options));
    }

    final ActiveMQConnection connectTo(String url) throws Exception {
        ActiveMQConnection connection = unstarted(url);
        connection.start();
        return connection;
    }

    final ActiveMQConnection unstarted(String url) throws Exception {
        ActiveMQConnection connection = (ActiveMQConnection) factory(url).createConnection();
        closeAfter(connection::close);
        return connection;
    }

    static Session auto(Connection connection) throws JMSException {
        return connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
    }

    static Session client(Connection connection) throws JMSException {
        return connection.createSession(false, Session.CLIENT_ACKNOWLEDGE);
    }

    static Session transacted(Connection connection) throws JMSException {
        return connection.createSession(true, Session.SESSION_TRANSACTED);
    }

    // Destinations; each test has names of its own, so none sees what another left.

    final String name() {
        return name;
    }

    final ActiveMQQueue queue() {
        return queue("Q");
    }

    final ActiveMQQueue queue(String suffix) {
        return new ActiveMQQueue(name + "." + suffix);
    }

    final ActiveMQTopic topic() {
        return topic("T");
    }

    final ActiveMQTopic topic(String suffix) {
        return new ActiveMQTopic(name + "." + suffix);
    }

    static ActiveMQQueue option(ActiveMQQueue queue, String options) {
        return new ActiveMQQueue(queue.getPhysicalName() + "?" + options);
    }

    static ActiveMQTopic option(ActiveMQTopic topic, String options) {
        return new ActiveMQTopic(topic.getPhysicalName() + "?" + options);
    }

    // Sending and receiving.

    static void send(Session session, Destination to, String... texts) throws JMSException {
        MessageProducer producer = session.createProducer(to);
        for (String text : texts) {
            producer.send(session.createTextMessage(text));
        }
        producer.close();
    }

    /** Sends numbered messages, from 0 on. */
    static void sendNumbers(Session session, Destination to, int count) throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < count; i++) {
            producer.send(session.createTextMessage("" + i));
        }
        producer.close();
        settle(session);
    }

    /** Waits until the broker has seen what was sent before, also where nobody waited for an answer. */
    static void settle(Session session) throws JMSException {
        ((ActiveMQSession) session).getConnection().syncSendPacket(new ConnectionControl());
    }

    static Message take(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(SOON);
        check(message != null, "no message came");
        return message;
    }

    /** Takes this text; one from before the break may come again, for its acknowledgement may be lost. */
    static TextMessage takeAfterCut(MessageConsumer consumer, String text) throws JMSException {
        TextMessage message = (TextMessage) take(consumer);
        while (message.getJMSRedelivered() && !message.getText().equals(text)) {
            message = (TextMessage) take(consumer);
        }
        equal(text, message.getText());
        return message;
    }

    static String takeText(MessageConsumer consumer) throws JMSException {
        return ((TextMessage) take(consumer)).getText();
    }

    static List<String> takeTexts(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add(takeText(consumer));
        }
        return texts;
    }

    /** Takes what comes until nothing more does for a moment. */
    static List<String> takeAll(MessageConsumer consumer) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Message m = consumer.receive(MOMENT); m != null; m = consumer.receive(MOMENT)) {
            texts.add(((TextMessage) m).getText());
        }
        return texts;
    }

    static void nothing(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(MOMENT);
        check(message == null, "unexpected: " + message);
    }

    /** What another client would now get from the queue; it is taken. */
    final List<String> drain(ActiveMQDestination queue) throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(queue);
        List<String> texts = takeAll(consumer);
        connection.close();
        return texts;
    }

    static List<String> numbers(int from, int to) {
        List<String> numbers = new ArrayList<>();
        for (int i = from; i < to; i++) {
            numbers.add("" + i);
        }
        return numbers;
    }

    static int deliveryCount(Message message) throws JMSException {
        return message.getIntProperty("JMSXDeliveryCount");
    }

    // Checks.

    interface Action {
        void run() throws Exception;
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void equal(Object expected, Object got) {
        equal(expected, got, "value");
    }

    static void equal(Object expected, Object got, String what) {
        if (expected instanceof List<?> a && got instanceof List<?> b) {
            equalLists(a, b, what);
        }
        check(Objects.deepEquals(expected, got),
                what + ": expected " + show(expected) + ", got " + show(got));
    }

    static void contains(String part, String text) {
        check(text != null && text.contains(part), "expected `" + part + "` in `" + text + "`");
    }

    /** Both at the first element where they differ, when they are long. */
    private static void equalLists(List<?> expected, List<?> got, String what) {
        int at = 0;
        while (at < Math.min(expected.size(), got.size()) && Objects.equals(expected.get(at), got.get(at))) {
            at++;
        }
        check(at == expected.size() && at == got.size(), what + ": differs at " + at + ": expected "
                + part(expected, at) + " of " + expected.size() + ", got " + part(got, at) + " of " + got.size());
    }

    private static List<?> part(List<?> list, int from) {
        return list.subList(from, Math.min(list.size(), from + 20));
    }

    private static String show(Object value) {
        String text = value instanceof Object[] array ? List.of(array).toString() : "" + value;
        String kind = value == null ? "" : " (" + value.getClass().getSimpleName() + ")";
        return (text.length() > 500 ? text.substring(0, 500) + "…" : text) + kind;
    }

    /** Runs what must be refused; gives back exactly this class of exception. */
    static <E extends Throwable> E refused(Class<E> type, Action action) {
        try {
            action.run();
        } catch (Throwable thrown) {
            if (thrown.getClass() == type) {
                return type.cast(thrown);
            }
            throw new AssertionError("expected " + type.getName() + ", got " + thrown, thrown);
        }
        throw new AssertionError("expected " + type.getName() + ", but nothing was thrown");
    }

    /** Waits until the condition holds. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON);
        while (!condition.call()) {
            check(System.nanoTime() < end, "did not happen: " + what);
            TimeUnit.MILLISECONDS.sleep(10);
        }
    }
}
