import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;

/** Bodies of every type, as they are and compressed. */
final class Messages extends JmsTest {
    @Test
    void every_type_of_message_comes_back_as_it_was_sent() throws Exception {
        roundTrip("", false);
    }

    @Test
    void every_type_of_message_comes_back_when_it_was_compressed() throws Exception {
        roundTrip("jms.useCompression=true", true);
    }

    @Test
    void every_type_of_message_comes_back_over_a_topic() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(topic());
        MessageProducer producer = session.createProducer(topic());
        for (Sample sample : Sample.all()) {
            producer.send(sample.make(session));
            sample.verify(take(consumer));
        }
    }

    @Test
    void every_type_of_message_is_passed_on_by_a_client_that_does_not_read_it() throws Exception {
        ActiveMQConnection connection = connect("jms.useCompression=true");
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(null);
        MessageConsumer first = session.createConsumer(queue("first"));
        MessageConsumer second = session.createConsumer(queue("second"));
        for (Sample sample : Sample.all()) {
            producer.send(queue("first"), sample.make(session));
            producer.send(queue("second"), take(first));
            sample.verify(take(second));
        }
    }

    @Test
    void one_message_object_can_be_changed_and_sent_again() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        MessageConsumer consumer = session.createConsumer(queue());
        TextMessage message = session.createTextMessage("one");
        producer.send(message);
        String firstId = message.getJMSMessageID();
        message.setText("two");
        message.setIntProperty("n", 2);
        producer.send(message);
        Message first = take(consumer);
        Message second = take(consumer);
        equal("one", ((TextMessage) first).getText());
        check(!first.propertyExists("n"), "the first message took the second's property");
        equal("two", ((TextMessage) second).getText());
        equal(firstId, first.getJMSMessageID());
        equal(message.getJMSMessageID(), second.getJMSMessageID());
        check(!firstId.equals(second.getJMSMessageID()), "both have the id " + firstId);
    }

    @Test
    void a_message_keeps_its_body_from_writing_until_it_is_cleared() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue(), "as sent");
        TextMessage message = (TextMessage) take(session.createConsumer(queue()));
        refused(javax.jms.MessageNotWriteableException.class, () -> message.setText("changed"));
        refused(javax.jms.MessageNotWriteableException.class, () -> message.setIntProperty("n", 1));
        message.clearBody();
        message.clearProperties();
        message.setText("changed");
        message.setIntProperty("n", 1);
        send(session, queue(), message.getText());
    }

    private void roundTrip(String options, boolean compressed) throws Exception {
        ActiveMQConnection connection = connect(options);
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        MessageConsumer consumer = session.createConsumer(queue());
        for (Sample sample : Sample.all()) {
            producer.send(sample.make(session));
            ActiveMQMessage got = (ActiveMQMessage) take(consumer);
            if (sample.hasBody()) {
                equal(compressed, got.isCompressed(), sample.name() + " compressed");
            }
            sample.verify(got);
        }
    }
}
