import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** What every broker does without being told: VirtualTopic.> is copied to Consumer.*.VirtualTopic.>. */
final class VirtualTopics extends JmsTest {
    private ActiveMQTopic virtual(String suffix) {
        return new ActiveMQTopic("VirtualTopic." + name() + "." + suffix);
    }

    private ActiveMQQueue of(String consumer, String suffix) {
        return new ActiveMQQueue("Consumer." + consumer + ".VirtualTopic." + name() + "." + suffix);
    }

    @Test
    void each_queue_and_each_subscriber_gets_a_copy() throws Exception {
        Session session = auto(connect());
        MessageConsumer one = session.createConsumer(of("A", "T"));
        MessageConsumer two = auto(connect()).createConsumer(of("B", "T"));
        MessageConsumer plain = session.createConsumer(virtual("T"));
        send(session, virtual("T"), "first", "second");
        for (MessageConsumer consumer : List.of(one, two, plain)) {
            equal(List.of("first", "second"), takeTexts(consumer, 2));
            nothing(consumer);
        }
    }

    @Test
    void consumers_of_one_queue_share_its_copies() throws Exception {
        Session session = auto(connect());
        MessageConsumer one = session.createConsumer(of("A", "T"));
        MessageConsumer two = session.createConsumer(of("A", "T"));
        send(session, virtual("T"), "0", "1", "2", "3");
        equal(2, takeTexts(one, 2).size());
        equal(2, takeTexts(two, 2).size());
        nothing(one);
        nothing(two);
    }

    @Test
    void a_copy_says_where_it_is_and_where_it_was_sent() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(of("A", "T"));
        Message sent = session.createTextMessage("x");
        sent.setStringProperty("color", "red");
        session.createProducer(virtual("T")).send(sent);
        ActiveMQMessage copy = (ActiveMQMessage) take(consumer);
        equal(of("A", "T"), copy.getJMSDestination());
        equal(virtual("T"), copy.getOriginalDestination());
        equal(sent.getJMSMessageID(), copy.getJMSMessageID());
        equal("red", copy.getStringProperty("color"));
    }

    @Test
    void a_queue_keeps_its_copies_while_nobody_consumes() throws Exception {
        Session session = auto(connect());
        send(session, virtual("T"), "before the queue");
        session.createConsumer(of("A", "T")).close();
        send(session, virtual("T"), "after");
        equal(List.of("after"), drain(of("A", "T")));
    }

    @Test
    void other_topics_and_longer_names_are_not_copied() throws Exception {
        Session session = auto(connect());
        MessageConsumer other = session.createConsumer(new ActiveMQQueue("Consumer.A." + topic().getPhysicalName()));
        MessageConsumer shorter = session.createConsumer(of("A", "T"));
        MessageConsumer longer = session.createConsumer(of("A.B", "T"));
        send(session, topic(), "not virtual");
        send(session, virtual("T.more"), "longer");
        send(session, virtual("T"), "this");
        nothing(other);
        equal("this", takeText(shorter));
        nothing(shorter);
        nothing(longer);
    }

    @Test
    void a_transaction_is_copied_as_a_whole() throws Exception {
        Session session = transacted(connect());
        MessageConsumer one = auto(connect()).createConsumer(of("A", "T"));
        MessageConsumer two = auto(connect()).createConsumer(of("B", "T"));
        send(session, virtual("T"), "rolled back");
        session.rollback();
        send(session, virtual("T"), "0", "1");
        nothing(one);
        session.commit();
        equal(List.of("0", "1"), takeTexts(one, 2));
        equal(List.of("0", "1"), takeTexts(two, 2));
    }

    @Test
    void without_selector_awareness_a_queue_gets_what_its_consumers_do_not_want() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(of("A", "T"), "n = 1");
        MessageProducer producer = session.createProducer(virtual("T"));
        for (int n = 0; n < 3; n++) {
            TextMessage message = session.createTextMessage("" + n);
            message.setIntProperty("n", n);
            producer.send(message);
        }
        equal("1", takeText(consumer));
        consumer.close();
        equal(List.of("0", "2"), drain(of("A", "T")));
    }

    @Test
    void a_wildcard_consumer_gets_what_topics_publish_that_have_no_queue_yet() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(of("A", ">"));
        send(session, virtual("T"), "one");
        send(session, virtual("U"), "two");
        equal(List.of("one", "two"), takeTexts(consumer, 2));
        nothing(consumer);
    }

    @Test
    void a_copy_that_dies_goes_to_the_dead_letter_queue_from_its_queue() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(of("A", "T"));
        Message message = session.createTextMessage("dead");
        message.setStringProperty("marker", name());
        session.createProducer(virtual("T")).send(message);
        session.commit();
        take(consumer);
        session.rollback();
        ActiveMQMessage dead = (ActiveMQMessage) take(auto(connect()).createConsumer(
                new ActiveMQQueue("ActiveMQ.DLQ"), "marker = '" + name() + "'"));
        equal(of("A", "T"), dead.getOriginalDestination());
    }

    @Test
    void a_temporary_reply_queue_answers_a_copy() throws Exception {
        Session session = auto(connect());
        MessageConsumer service = session.createConsumer(of("A", "T"));
        javax.jms.TemporaryQueue replies = session.createTemporaryQueue();
        Message request = session.createTextMessage("ping");
        request.setJMSReplyTo(replies);
        session.createProducer(virtual("T")).send(request);
        Message asked = take(service);
        send(session, asked.getJMSReplyTo(), "pong");
        equal("pong", takeText(session.createConsumer(replies)));
    }
}
