import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.jms.DeliveryMode;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageFormatException;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;

/** Messages that are sent later and again (schedulerSupport), on a broker that keeps them. */
class Schedules extends JmsTest {
    private static final long HOUR = 3_600_000;
    private static final String MANAGEMENT = "ActiveMQ.Scheduler.Management";

    private Broker broker;

    @Override
    Broker broker() throws Exception {
        if (broker == null) {
            broker = closeAfter(Broker.scheduling());
        }
        return broker;
    }

    /** A message with properties, given as name, value, name, value. */
    private static TextMessage asking(Session session, String text, Object... properties) throws JMSException {
        TextMessage message = session.createTextMessage(text);
        for (int i = 0; i < properties.length; i += 2) {
            message.setObjectProperty((String) properties[i], properties[i + 1]);
        }
        return message;
    }

    private static void schedule(Session session, Destination to, String text, Object... properties)
            throws JMSException {
        MessageProducer producer = session.createProducer(to);
        producer.send(asking(session, text, properties));
        producer.close();
    }

    private static void manage(Session session, Destination replyTo, Object... properties) throws JMSException {
        MessageProducer producer = session.createProducer(session.createTopic(MANAGEMENT));
        Message request = asking(session, "", properties);
        request.setJMSReplyTo(replyTo);
        producer.send(request);
        producer.close();
    }

    /** What waits, as the broker shows it. */
    private List<Message> browse(Session session, Object... properties) throws Exception {
        Destination replies = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replies);
        List<Object> all = new ArrayList<>(List.of("AMQ_SCHEDULER_ACTION", "BROWSE"));
        all.addAll(List.of(properties));
        manage(session, replies, all.toArray());
        List<Message> shown = new ArrayList<>();
        for (Message m = consumer.receive(1000); m != null; m = consumer.receive(MOMENT)) {
            shown.add(m);
        }
        consumer.close();
        return shown;
    }

    private static List<String> texts(List<Message> messages) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Message message : messages) {
            texts.add(((TextMessage) message).getText());
        }
        return texts;
    }

    @Test(seconds = 60)
    void a_delay_is_waited_for_and_the_message_names_its_job() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        TextMessage message = asking(session, "later", "AMQ_SCHEDULED_DELAY", 1500L, "own", 7);
        MessageProducer producer = session.createProducer(queue());
        long sent = System.currentTimeMillis();
        producer.send(message);
        send(session, queue(), "now");
        equal("now", takeText(consumer));
        TextMessage got = (TextMessage) take(consumer);
        long took = System.currentTimeMillis() - sent;
        check(took >= 1500, "after " + took + " ms");
        equal("later", got.getText());
        equal(7, got.getIntProperty("own"));
        equal(message.getJMSMessageID(), got.getJMSMessageID());
        equal(DeliveryMode.PERSISTENT, got.getJMSDeliveryMode());
        check(got.getStringProperty("scheduledJobId").startsWith("ID:"), "no job");
        check(!got.propertyExists("AMQ_SCHEDULED_DELAY"), "it asks for a delay still");
        nothing(consumer);
    }

    @Test(seconds = 60)
    void what_comes_from_a_scheduler_is_not_scheduled_again() throws Exception {
        Session session = auto(connect());
        schedule(session, queue(), "now", "AMQ_SCHEDULED_DELAY", HOUR, "scheduledJobId", "ID:other:1");
        equal("now", takeText(session.createConsumer(queue())));
    }

    @Test(seconds = 60)
    void the_earlier_overtakes_and_texts_count_as_numbers() throws Exception {
        Session session = auto(connect());
        schedule(session, queue(), "second", "AMQ_SCHEDULED_DELAY", 2000L);
        schedule(session, queue(), "first", "AMQ_SCHEDULED_DELAY", "500");
        equal(List.of("first", "second"), takeTexts(session.createConsumer(queue()), 2));
    }

    @Test(seconds = 60)
    void a_message_is_repeated_with_ids_of_its_own_and_one_job() throws Exception {
        Session session = auto(connect());
        schedule(session, queue(), "again", "AMQ_SCHEDULED_DELAY", 500L, "AMQ_SCHEDULED_PERIOD", 200L,
                "AMQ_SCHEDULED_REPEAT", 3);
        MessageConsumer consumer = session.createConsumer(queue());
        Set<String> ids = new HashSet<>();
        Set<String> jobs = new HashSet<>();
        for (int i = 0; i < 4; i++) {
            Message message = take(consumer);
            ids.add(message.getJMSMessageID());
            jobs.add(message.getStringProperty("scheduledJobId"));
        }
        check(consumer.receive(1200) == null, "sent more than four times");
        equal(4, ids.size(), "message ids");
        equal(1, jobs.size(), "jobs");
        equal(List.of(), browse(session));
    }

    @Test(seconds = 60)
    void a_period_alone_is_a_delay() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        schedule(session, queue(), "later", "AMQ_SCHEDULED_PERIOD", 1000L);
        nothing(consumer);
        equal("later", takeText(consumer));
        check(consumer.receive(1500) == null, "sent twice");
    }

    @Test(seconds = 60)
    void a_cron_entry_is_due_on_the_minute() throws Exception {
        Session session = auto(connect());
        schedule(session, queue(), "yearly", "AMQ_SCHEDULED_CRON", "0 0 1 1 *");
        long before = System.currentTimeMillis();
        schedule(session, queue(), "minute", "AMQ_SCHEDULED_CRON", "* * * * *", "AMQ_SCHEDULED_DELAY", 1000L);
        List<Message> shown = browse(session,
                "ACTION_START_TIME", Long.toString(before), "ACTION_END_TIME", Long.toString(before + 63_000));
        equal(List.of("minute"), texts(shown));
        equal("* * * * *", shown.get(0).getStringProperty("AMQ_SCHEDULED_CRON"));
        nothing(session.createConsumer(queue()));
    }

    @Test(seconds = 60)
    void what_is_sent_later_can_be_shown_and_removed() throws Exception {
        Session session = auto(connect());
        for (int hours = 3; hours > 0; hours--) {
            schedule(session, queue(), hours + " h", "AMQ_SCHEDULED_DELAY", hours * HOUR);
        }
        List<Message> shown = browse(session);
        equal(List.of("1 h", "2 h", "3 h"), texts(shown));
        ActiveMQMessage first = (ActiveMQMessage) shown.get(0);
        equal(queue(), first.getOriginalDestination());
        equal("Advisory", first.getJMSType());
        equal(DeliveryMode.NON_PERSISTENT, first.getJMSDeliveryMode());
        equal(HOUR, first.getLongProperty("AMQ_SCHEDULED_DELAY"));

        long now = System.currentTimeMillis();
        String from = Long.toString(now + HOUR + HOUR / 2);
        String to = Long.toString(now + 2 * HOUR + HOUR / 2);
        equal(List.of("2 h"), texts(browse(session, "ACTION_START_TIME", from, "ACTION_END_TIME", to)));
        manage(session, null, "AMQ_SCHEDULER_ACTION", "REMOVE",
                "scheduledJobId", first.getStringProperty("scheduledJobId"));
        equal(List.of("2 h", "3 h"), texts(browse(session)));
        manage(session, null, "AMQ_SCHEDULER_ACTION", "REMOVE", "scheduledJobId", "ID:nobody:1:1:1");
        manage(session, null, "AMQ_SCHEDULER_ACTION", "REMOVEALL", "ACTION_START_TIME", from, "ACTION_END_TIME", to);
        equal(List.of("3 h"), texts(browse(session)));
        manage(session, null, "AMQ_SCHEDULER_ACTION", "REMOVEALL");
        equal(List.of(), browse(session));
        nothing(session.createConsumer(queue()));
    }

    @Test(seconds = 60)
    void a_transaction_schedules_when_it_is_committed() throws Exception {
        ActiveMQConnection connection = connect();
        Session transacted = transacted(connection);
        Session session = auto(connection);
        schedule(transacted, queue(), "kept", "AMQ_SCHEDULED_DELAY", HOUR);
        equal(List.of(), browse(session));
        transacted.commit();
        equal(List.of("kept"), texts(browse(session)));
        schedule(transacted, queue(), "dropped", "AMQ_SCHEDULED_DELAY", HOUR);
        transacted.rollback();
        equal(List.of("kept"), texts(browse(session)));
    }

    @Test(seconds = 60)
    void too_many_repeats_are_refused() throws Exception {
        Session session = auto(connect());
        MessageFormatException many = refused(MessageFormatException.class, () -> schedule(session, queue(), "many",
                "AMQ_SCHEDULED_DELAY", 1L, "AMQ_SCHEDULED_REPEAT", 1001));
        contains("The scheduled repeat value is too large", many.getMessage());
        equal(List.of(), browse(session));
    }

    @Test(seconds = 60)
    void a_topic_hears_it_and_its_time_to_live_begins_then() throws Exception {
        Session session = auto(connect());
        Topic topic = topic();
        MessageConsumer consumer = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        TextMessage message = asking(session, "later", "AMQ_SCHEDULED_DELAY", 1500L);
        producer.send(message, DeliveryMode.NON_PERSISTENT, 4, 1000);
        Message got = take(consumer);
        equal(1000L, got.getJMSExpiration() - got.getJMSTimestamp());
        check(got.getJMSTimestamp() >= message.getJMSTimestamp() + 1500, "as old as it was");
        equal(DeliveryMode.NON_PERSISTENT, got.getJMSDeliveryMode());
    }

    @Test(seconds = 120)
    void what_waits_survives_a_kill_be_it_persistent_or_not() throws Exception {
        Session session = auto(connect());
        schedule(session, queue(), "persistent", "AMQ_SCHEDULED_DELAY", HOUR);
        schedule(session, queue(), "repeated", "AMQ_SCHEDULED_DELAY", 500L,
                "AMQ_SCHEDULED_PERIOD", HOUR, "AMQ_SCHEDULED_REPEAT", 1000);
        MessageProducer producer = session.createProducer(queue());
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(asking(session, "not persistent", "AMQ_SCHEDULED_DELAY", 2 * HOUR));
        equal("repeated", takeText(session.createConsumer(queue())));
        schedule(session, queue("stored"), "behind all that went before");
        broker().kill();
        broker().startAgain();
        Session again = auto(connect());
        List<Message> shown = browse(again);
        equal(Set.of("persistent", "repeated", "not persistent"), Set.copyOf(texts(shown)));
        nothing(again.createConsumer(queue()));
        for (Message message : shown) {
            manage(again, null, "AMQ_SCHEDULER_ACTION", "REMOVE",
                    "scheduledJobId", message.getStringProperty("scheduledJobId"));
        }
        equal(List.of(), browse(again));
    }
}
