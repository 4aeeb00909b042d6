import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;

/**
 * The six nodes of tests/config/cluster: producers at one group, consumers at the other, and any node
 * may be killed. The files name classes that only openwired goes without, so ActiveMQ has no part here.
 */
final class Networks extends JmsTest {
    private static final int MESSAGES = 300;

    private final List<Broker> nodes = new ArrayList<>();
    private List<Integer> ports;

    private void start() throws Exception {
        ports = Broker.freePorts(6);
        Path stores = Files.createTempDirectory("openwired-stores");
        closeAfter(() -> Broker.clear(stores));
        for (int node = 1; node <= 6; node++) {
            nodes.add(closeAfter(Broker.node(node, ports, stores)));
            if (node % 3 == 1) {
                awaitMaster((node - 1) / 3);
            }
        }
    }

    private void awaitMaster(int group) throws Exception {
        eventually("group " + group + " has a master", () -> master(group) != null);
    }

    private Broker master(int group) {
        return nodes.stream().skip(3L * group).limit(3).filter(Broker::serves).findFirst().orElse(null);
    }

    private String url(int group) {
        String all = ports.subList(3 * group, 3 * group + 3).stream()
                .map(port -> "tcp://127.0.0.1:" + port).collect(Collectors.joining(","));
        return "failover:(" + all + ")?randomize=false&initialReconnectDelay=10&maxReconnectDelay=50";
    }

    private ActiveMQConnection at(int group) throws Exception {
        return connectTo(url(group));
    }

    @Test
    void queues_topics_and_requests_cross_in_both_directions() throws Exception {
        if (Broker.isActiveMq()) {
            return;
        }
        start();
        for (int from = 0; from < 2; from++) {
            Session near = auto(at(from));
            Session far = auto(at(1 - from));
            sendNumbers(near, queue("early" + from), 100);
            equal(numbers(0, 100), takeTexts(far.createConsumer(queue("early" + from)), 100));
            MessageConsumer late = far.createConsumer(queue("late" + from));
            sendNumbers(near, queue("late" + from), 100);
            equal(numbers(0, 100), takeTexts(late, 100));
            nothing(late);
            news(near, far, from);
            requests(near, far, from);
        }
    }

    /** A topic carries what is published once the news of its consumer have crossed. */
    private void news(Session near, Session far, int from) throws Exception {
        MessageConsumer consumer = far.createConsumer(topic("news" + from));
        MessageProducer producer = near.createProducer(topic("news" + from));
        eventually("news cross", () -> {
            producer.send(near.createTextMessage("greeting"));
            return consumer.receive(50) != null;
        });
        producer.send(near.createTextMessage("last"));
        String heard = "greeting";
        while (heard.equals("greeting")) {
            heard = takeText(consumer);
        }
        equal("last", heard);
        consumer.close();
    }

    private void requests(Session near, Session far, int from) throws Exception {
        MessageConsumer requests = far.createConsumer(queue("requests" + from));
        MessageProducer answers = far.createProducer(null);
        Destination replyTo = near.createTemporaryQueue();
        MessageConsumer replies = near.createConsumer(replyTo);
        MessageProducer producer = near.createProducer(queue("requests" + from));
        for (int n = 0; n < 20; n++) {
            TextMessage request = near.createTextMessage("request " + n);
            request.setJMSReplyTo(replyTo);
            producer.send(request);
            Message asked = take(requests);
            answers.send(asked.getJMSReplyTo(), far.createTextMessage("re " + ((TextMessage) asked).getText()));
            equal("re request " + n, takeText(replies));
        }
    }

    @Test
    void a_durable_subscriber_misses_nothing_of_the_other_group() throws Exception {
        if (Broker.isActiveMq()) {
            return;
        }
        start();
        Session near = auto(at(0));
        String subscriberUrl = url(1) + "&jms.clientID=" + name();
        ActiveMQConnection first = connectTo(subscriberUrl);
        MessageConsumer subscriber = auto(first).createDurableSubscriber(topic(), "kept");
        MessageProducer producer = near.createProducer(topic());
        eventually("news cross", () -> {
            producer.send(near.createTextMessage("greeting"));
            return subscriber.receive(50) != null;
        });
        first.close();
        publish(near, 0, 50);
        // The subscriber's broker goes while it is away, and then the publisher's.
        for (int group : new int[] {1, 0}) {
            Broker master = master(group);
            master.kill();
            awaitMaster(group);
            master.join();
        }
        publish(near, 50, 100);
        MessageConsumer again = auto(connectTo(subscriberUrl)).createDurableSubscriber(topic(), "kept");
        List<String> heard = new ArrayList<>();
        while (heard.size() < 100) {
            Message next = again.receive(SOON);
            check(next != null, "only " + heard.size() + " came: " + heard);
            String text = ((TextMessage) next).getText();
            if (!text.equals("greeting")) {
                heard.add(text);
            }
        }
        equal(numbers(0, 100), heard);
        nothing(again);
    }

    /** By a producer of its own, as a template does. */
    private void publish(Session session, int from, int to) throws JMSException {
        MessageProducer producer = session.createProducer(topic());
        for (String text : numbers(from, to)) {
            producer.send(session.createTextMessage(text));
        }
        producer.close();
    }

    @Test
    void every_node_may_be_killed_while_messages_cross() throws Exception {
        if (Broker.isActiveMq()) {
            return;
        }
        start();
        List<Crossing> crossings = List.of(
                new Crossing(queue("there"), 0, 1), new Crossing(queue("back"), 1, 0));
        for (int node = 0; node < 6; node++) {
            for (Crossing crossing : crossings) {
                crossing.awaitMore(20);
            }
            nodes.get(node).kill();
            awaitMaster(node / 3);
            nodes.get(node).join();
        }
        Broker[] masters = {master(0), master(1)};
        for (Broker master : masters) {
            master.kill();
        }
        for (int group = 0; group < 2; group++) {
            awaitMaster(group);
            masters[group].join();
        }
        for (Crossing crossing : crossings) {
            crossing.finish();
        }
    }

    /** A producer at one group and a consumer at the other, each in a thread of its own. */
    private final class Crossing {
        private final ActiveMQDestination queue;
        private final List<Integer> came = new ArrayList<>();
        private final AtomicBoolean stop = new AtomicBoolean();
        private final Thread producer;
        private int sent;
        private Exception failure;

        Crossing(ActiveMQDestination queue, int from, int to) throws Exception {
            this.queue = queue;
            Session far = auto(at(to));
            far.createConsumer(queue).setMessageListener(this::note);
            Session near = auto(at(from));
            producer = new Thread(() -> produce(near));
            producer.start();
        }

        private void produce(Session session) {
            try {
                MessageProducer messages = session.createProducer(queue);
                while (!stop.get()) {
                    messages.send(session.createTextMessage(Integer.toString(sent)));
                    synchronized (this) {
                        sent++;
                    }
                    Thread.sleep(2);
                }
            } catch (JMSException | InterruptedException e) {
                synchronized (this) {
                    failure = e;
                }
            }
        }

        private synchronized void note(Message message) {
            try {
                came.add(Integer.parseInt(((TextMessage) message).getText()));
            } catch (JMSException e) {
                failure = e;
            }
            notifyAll();
        }

        private synchronized long distinct() {
            return came.stream().distinct().count();
        }

        void awaitMore(int count) throws Exception {
            long before = distinct();
            eventually("messages cross", () -> distinct() >= before + count);
        }

        void finish() throws Exception {
            awaitMore(20);
            eventually("enough was sent", () -> sent >= MESSAGES);
            stop.set(true);
            producer.join(SOON);
            eventually("all of " + sent + " came", () -> distinct() >= sent);
            synchronized (this) {
                check(failure == null, "it failed: " + failure);
                equal((long) sent, distinct());
            }
        }
    }
}
