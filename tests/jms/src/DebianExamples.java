import java.nio.file.Path;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;

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

    @Test
    void the_one_for_scalability_serves_its_nio_connector() throws Exception {
        works(example("activemq-scalability.xml"));
    }
}
