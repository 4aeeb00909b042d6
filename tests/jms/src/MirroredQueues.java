import java.util.List;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import javax.jms.TemporaryQueue;

/** A broker that mirrors what is sent to queues on topics. */
final class MirroredQueues extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.attributes("useMirroredQueues=\"true\"");
    }

    @Test
    void what_is_sent_to_a_queue_is_heard_on_its_mirror() throws Exception {
        Session session = auto(connect());
        ActiveMQTopic mirror = new ActiveMQTopic("VirtualTopic.Mirror." + queue().getPhysicalName());
        MessageConsumer consumer = session.createConsumer(mirror);
        send(session, queue(), "0", "1");
        equal("0", takeText(consumer));
        equal(mirror, take(consumer).getJMSDestination());
        equal(List.of("0", "1"), drain(queue()));
    }

    @Test
    void the_mirror_is_a_virtual_topic() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(
                new ActiveMQQueue("Consumer.A.VirtualTopic.Mirror." + queue().getPhysicalName()));
        send(session, queue(), "x");
        equal("x", takeText(consumer));
    }

    @Test
    void temporary_queues_have_a_mirror_too() throws Exception {
        Session session = auto(connect());
        MessageConsumer mirrors = session.createConsumer(new ActiveMQTopic("VirtualTopic.Mirror.>"));
        TemporaryQueue replies = session.createTemporaryQueue();
        send(session, replies, "reply");
        equal("reply", takeText(mirrors));
        equal("reply", takeText(session.createConsumer(replies)));
    }
}
