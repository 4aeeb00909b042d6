import java.nio.file.Path;
import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;

/** Debian's example configurations that are about destinations start and do what they say. */
final class DebianExamples extends JmsTest {
    private static final Path EXAMPLES = Path.of("/usr/share/doc/activemq/examples/conf");
    private static final int MESSAGES = 3000;

    private Broker example(String name) throws Exception {
        return closeAfter(Broker.of(EXAMPLES.resolve(name)));
    }

    /** More than the memory limit of any of them goes through, while somebody consumes. */
    private void works(Broker broker) throws Exception {
        ActiveMQConnection connection = connectTo(broker.url());
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        Session session = auto(connectTo(broker.url()));
        MessageProducer producer = session.createProducer(queue());
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < MESSAGES; i++) {
            producer.send(session.createTextMessage("" + i));
        }
        equal(numbers(0, MESSAGES), takeTexts(consumer, MESSAGES));
        MessageConsumer listener = auto(connection).createConsumer(topic());
        send(session, topic(), "heard");
        equal("heard", takeText(listener));
    }

    @Test
    void the_one_for_specjms_forgets_messages_at_start_and_tells_no_advisories() throws Exception {
        Broker broker = example("activemq-specjms.xml");
        works(broker);
        ActiveMQConnection connection = connectTo(broker.url());
        MessageConsumer advisories = auto(connection).createConsumer(
                new org.apache.activemq.command.ActiveMQTopic("ActiveMQ.Advisory.>"));
        send(auto(connection), queue("kept"), "forgotten");
        nothing(advisories);
        broker.stop();
        broker.startAgain();
        nothing(auto(connectTo(broker.url())).createConsumer(queue("kept")));
    }

    @Test
    void the_one_for_throughput_passes_more_than_its_limit_and_keeps_messages() throws Exception {
        Broker broker = example("activemq-throughput.xml");
        works(broker);
        send(auto(connectTo(broker.url())), queue("kept"), "kept");
        broker.stop();
        broker.startAgain();
        ActiveMQMessage kept = (ActiveMQMessage) take(auto(connectTo(broker.url())).createConsumer(queue("kept")));
        equal(DeliveryMode.PERSISTENT, kept.getJMSDeliveryMode());
    }

    /** What is given up goes to a dead letter queue of its own. */
    private void hasDeadLetters(Broker broker) throws Exception {
        ActiveMQConnection connection =
                connectTo(JmsTest.with(broker.url(), "jms.redeliveryPolicy.maximumRedeliveries=0"));
        Session session = transacted(connection);
        send(session, queue("given up"), "x");
        session.commit();
        take(session.createConsumer(queue("given up")));
        session.rollback();
        equal("x", takeText(auto(connection).createConsumer(
                new ActiveMQQueue("DLQ." + queue("given up").getPhysicalName()))));
    }

    @Test(seconds = 90)
    void those_for_a_static_network_forward_to_each_other_and_keep_dead_letters_apart() throws Exception {
        Broker one = example("activemq-static-network-broker1.xml");
        Broker two = closeAfter(Broker.of(EXAMPLES.resolve("activemq-static-network-broker2.xml"), "0.0.0.0:61618",
                one.url()));
        for (List<Broker> way : List.of(List.of(one, two), List.of(two, one))) {
            MessageConsumer there = auto(connectTo(way.get(1).url())).createConsumer(queue("forwarded"));
            send(auto(connectTo(way.get(0).url())), queue("forwarded"), "x");
            equal("x", takeText(there));
            there.close();
        }
        hasDeadLetters(two);
        two.close();
        hasDeadLetters(one);
        works(one);
    }

    @Test(seconds = 90)
    void those_for_a_dynamic_network_keep_dead_letters_apart() throws Exception {
        for (String name : List.of("activemq-dynamic-network-broker1.xml", "activemq-dynamic-network-broker2.xml")) {
            String address = name.contains("broker1") ? "0.0.0.0:61616" : "0.0.0.0:61618";
            Broker broker = closeAfter(Broker.of(EXAMPLES.resolve(name), address, ""));
            hasDeadLetters(broker);
            works(broker);
            // The next one would find it, and its consumers.
            broker.close();
        }
    }

    @Test
    void the_one_for_scalability_serves_its_nio_connector() throws Exception {
        works(example("activemq-scalability.xml"));
    }
}
